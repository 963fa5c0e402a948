import Collectives
import DataParallel
import Models
import Tensors
import Training

/// A network on the deterministic batch, one image a microbatch, as the trainer runs it.
final class VectorRun {
  let model: ModelState
  let step: TrainingStep
  private let images: Tensor
  private let labels: AlignedBuffer<UInt8>
  private var number = 0

  /// Plans WRN-depth-k with the formula's parameters.
  init(
    depth: Int = 22, widenFactor: Int, threads: Int = 2, batchNorm: BatchNormalizationScope = .global
  ) throws {
    let network = TraxWideResNet.graph(try WideResNetConfiguration(depth: depth, widenFactor: widenFactor))
    model = ModelState(network)
    network.initialize(model.parameters, model.runningStatistics, seed: 0)
    TraxVectors.fill(model.parameters)
    let count = TraxVectors.imageCount
    images = Tensor(Shape(count, 32, 32, 3))
    labels = AlignedBuffer(count: count)
    for (i, value) in TraxVectors.images.enumerated() { images.elements[i] = value }
    for (i, label) in TraxVectors.labels.enumerated() { labels.pointer[i] = label }
    var configuration = TrainingConfiguration()
    configuration.batchNorm = batchNorm
    step = TrainingStep(
      model,
      plan: try MicrobatchPlan(globalBatchSize: count, microbatchCount: count, rank: 0, worldSize: 1),
      configuration: configuration, engine: BLASConvolutionEngine(),
      pool: WorkerPool(workerCount: threads), communicator: SingleProcessCommunicator())
  }

  /// Makes one training step and returns its loss (before the update) and gradient norm.
  func update() throws -> TrainingStep.Result {
    number += 1
    return try step(images.pointer, labels: labels.pointer, step: number)
  }
}
