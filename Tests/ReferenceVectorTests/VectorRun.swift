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

  /// Plans Trax's WRN-depth-k with the formula's parameters.
  convenience init(
    depth: Int = 22, widenFactor: Int, threads: Int = 2, batchNorm: BatchNormalizationScope = .global
  ) throws {
    let configuration = try WideResNetConfiguration(depth: depth, widenFactor: widenFactor)
    try self.init(TraxWideResNet.graph(configuration), threads: threads, batchNorm: batchNorm)
  }

  /// Plans a network with the formula's parameters, counted from an offset.
  init(
    _ graph: ModelGraph, threads: Int = 2, batchNorm: BatchNormalizationScope = .global, parameterOffset: Int = 0,
    training: TrainingConfiguration = TrainingConfiguration()
  ) throws {
    model = ModelState(graph)
    graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    ModelVectors.fill(model.parameters, offset: parameterOffset)
    let count = ModelVectors.imageCount
    images = Tensor(Shape(count, graph.imageSize, graph.imageSize, 3))
    labels = AlignedBuffer(count: count)
    for (i, value) in ModelVectors.images(size: graph.imageSize).enumerated() { images.elements[i] = value }
    for (i, label) in ModelVectors.labels.enumerated() { labels.pointer[i] = label }
    var configuration = training
    configuration.batchNorm = batchNorm
    step = TrainingStep(
      model,
      plan: try MicrobatchPlan(globalBatchSize: count, microbatchCount: count, rank: 0, worldSize: 1),
      configuration: configuration, engine: BLASConvolutionEngine(),
      pool: try WorkerPool(workerCount: threads), communicator: SingleProcessCommunicator())
  }

  /// Makes one training step and returns its loss (before the update) and gradient norm.
  func update() throws -> TrainingStep.Result {
    number += 1
    return try step(images.pointer, labels: labels.pointer, step: number)
  }
}
