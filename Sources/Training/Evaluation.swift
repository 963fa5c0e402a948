import Collectives
import Datasets
import Networks
import Tensors

/// Loss and accuracy on test images, computed by whole batches that are dealt out to the ranks.
///
/// A batch is computed by one rank alone, cut into the same microbatches as in training, so its numbers do not depend on
/// who computes it; counts are integers and losses are summed in batch order. No image is counted twice.
public final class Evaluation {
  /// What an evaluation found.
  public struct Result: Sendable, Hashable {
    /// The mean cross entropy over the images.
    public let loss: Double
    /// Images whose largest logit is at their label.
    public let correctCount: Int
    /// The images.
    public let exampleCount: Int

    /// Correct images, 0 … 1.
    public var accuracy: Double { Double(correctCount) / Double(exampleCount) }
  }

  private let pass: NetworkPass
  private let split: CIFAR10.Split
  private let configuration: TrainingConfiguration
  private let communicator: any Communicator
  private let imagesPerMicrobatch: Int
  private let images: Tensor
  private let labels: AlignedBuffer<UInt8>
  private let network: WideResNet

  /// Plans an evaluation; ranks that take no part need no memory for it.
  ///
  /// - Parameters:
  ///   - model: Parameters and running statistics.
  ///   - split: The test images.
  ///   - configuration: Batch size, microbatches and the `eval-` settings.
  ///   - engine: What computes convolutions.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  public init(
    _ model: ModelState, split: CIFAR10.Split, configuration: TrainingConfiguration,
    engine: any ConvolutionEngine, pool: WorkerPool, communicator: any Communicator
  ) {
    self.split = split
    self.configuration = configuration
    self.communicator = communicator
    network = model.network
    let takesPart = configuration.evalRanks == .all || communicator.rank == 0
    imagesPerMicrobatch = configuration.batchSize / configuration.microbatches
    let capacity = takesPart ? configuration.microbatches : 0
    images = Tensor(
      Shape(capacity * imagesPerMicrobatch, WideResNet.imageSize, WideResNet.imageSize, WideResNet.imageChannels))
    labels = AlignedBuffer(count: capacity * imagesPerMicrobatch)
    pass = NetworkPass(
      network, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatches: 0..<capacity, tree: ReductionTree(leafCount: configuration.microbatches),
      scope: configuration.batchNorm, purpose: .inference)
  }

  /// The bytes of all memory that the evaluation planned.
  public var byteCount: Int { pass.byteCount + images.byteCount }

  /// Evaluates; every rank calls it.
  ///
  /// - Parameter index: The number of evaluations before this one: where in the endless test stream it begins.
  /// - Returns: The result over all images, on every rank.
  /// - Throws: ``DatasetError`` if a record is bad, ``CommunicationError`` if the exchange fails.
  public func callAsFunction(index: Int) throws -> Result {
    let batches = batches(index: index)
    let worldSize = configuration.evalRanks == .all ? communicator.worldSize : 1
    var results = [BatchResult](repeating: BatchResult(), count: batches.count)
    var failure: (any Error)?
    do {
      for b in stride(from: communicator.rank, to: batches.count, by: worldSize)
      where communicator.rank < worldSize {
        results[b] = try evaluate(batches[b])
      }
    } catch {
      failure = error
    }
    try gather(&results)
    if let failure { throw failure }
    // In batch order, whoever computed them.
    let lossSum = results.reduce(0) { $0 + $1.lossSum }
    let count = results.reduce(0) { $0 + $1.imageCount }
    return Result(
      loss: lossSum / Double(count), correctCount: results.reduce(0) { $0 + $1.correctCount },
      exampleCount: count)
  }

  /// The positions in the endless test stream that each batch takes.
  private func batches(index: Int) -> [Range<Int>] {
    let size = configuration.batchSize
    switch configuration.evalBatches {
    case .next(let count):
      // Trax takes one batch for itself before the first evaluation (model-spec trap 13), and never rewinds.
      let first = size + index * count * size
      return (0..<count).map { first + $0 * size..<first + ($0 + 1) * size }
    case .all:
      return stride(from: 0, to: split.count, by: size).map { $0..<min($0 + size, split.count) }
    }
  }

  private struct BatchResult: BitwiseCopyable {
    var lossSum = 0.0
    var correctCount = 0
    var imageCount = 0
  }

  private func evaluate(_ positions: Range<Int>) throws -> BatchResult {
    for (i, position) in positions.enumerated() {
      labels.pointer[i] = try split.readRecord(
        at: position % split.count, pixels: images.pointer + i * images.elementCountPerImage)
    }
    let count = positions.count
    let microbatchCount = (count + imagesPerMicrobatch - 1) / imagesPerMicrobatch
    let run = MicrobatchRun(
      globalImageCount: count, imagesPerMicrobatch: imagesPerMicrobatch,
      localRange: 0..<microbatchCount,
      reduction: TreeReduction(
        tree: ReductionTree(leafCount: microbatchCount), communicator: SoloCommunicator(),
        maximumElementCount: network.largestReductionCount))
    let loss = try pass.forward(
      images.pointer, labels: labels.pointer, run: run, statistics: configuration.evalStatistics)
    return BatchResult(
      lossSum: loss * Double(count), correctCount: pass.correctCount(run), imageCount: count)
  }

  /// Brings every batch's result to every rank: each has zeros where another computed.
  private func gather(_ results: inout [BatchResult]) throws {
    guard communicator.worldSize > 1 else { return }
    let size = results.count * MemoryLayout<BatchResult>.stride
    var all = [BatchResult](
      repeating: BatchResult(), count: results.count * communicator.worldSize)
    let counts = [Int](repeating: size, count: communicator.worldSize)
    try results.withUnsafeBytes { mine in
      try all.withUnsafeMutableBytes { try communicator.allGather(mine, into: $0, counts: counts) }
    }
    for b in results.indices {
      let owner = configuration.evalRanks == .all ? b % communicator.worldSize : 0
      results[b] = all[owner * results.count + b]
    }
  }
}
