import Collectives
import Datasets
import Models
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
    /// Labels and predictions of all images.
    public let confusion: ConfusionMatrix

    /// The images.
    public var exampleCount: Int { confusion.exampleCount }
    /// Images whose largest logit is at their label.
    public var correctCount: Int { confusion.correctCount }
    /// Correct images, 0 … 1.
    public var accuracy: Double { Double(correctCount) / Double(exampleCount) }
  }

  private let pass: ModelExecutor
  private let split: CIFAR10.Split
  private let configuration: TrainingConfiguration
  private let communicator: any Communicator
  private let imagesPerMicrobatch: Int
  private let images: Tensor
  private let labels: AlignedBuffer<UInt8>
  private let network: ModelGraph
  /// The ranks that take part: the first so many.
  private let evaluatorCount: Int

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
    evaluatorCount = configuration.evalRanks == .all ? communicator.worldSize : 1
    imagesPerMicrobatch = configuration.batchSize / configuration.microbatches
    let capacity = communicator.rank < evaluatorCount ? configuration.microbatches : 0
    images = Tensor(
      Shape(
        capacity * imagesPerMicrobatch, network.imageSize, network.imageSize,
        network.imageChannels))
    labels = AlignedBuffer(count: capacity * imagesPerMicrobatch)
    pass = ModelExecutor(
      network, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatches: 0..<capacity, tree: ReductionTree(leafCount: configuration.microbatches),
      scope: configuration.batchNorm, purpose: .inference)
  }

  /// The bytes of all memory that the evaluation planned.
  public var byteCount: Int { pass.byteCount + images.byteCount }

  /// The images of every evaluation.
  public var exampleCount: Int { batches(index: 0).reduce(0) { $0 + $1.count } }

  /// Evaluates; every rank calls it.
  ///
  /// - Parameters:
  ///   - index: The number of evaluations before this one: where in the endless test stream it begins.
  ///   - logits: Receives the logits of every image on every rank, `[exampleCount, classes]`, if given.
  /// - Returns: The result over all images, on every rank.
  /// - Throws: ``DatasetError`` if a record is bad, ``CommunicationError`` if the exchange fails.
  public func callAsFunction(index: Int, logits: UnsafeMutablePointer<Float>? = nil) throws -> Result {
    let batches = batches(index: index)
    var results = [BatchResult](repeating: BatchResult(classCount: network.classCount), count: batches.count)
    var failure: (any Error)?
    do {
      for b in batches.indices where evaluator(of: b) == communicator.rank {
        results[b] = try evaluate(batches[b])
        if let logits { copyLogits(batch: b, count: batches[b].count, to: logits) }
      }
    } catch {
      failure = error
    }
    try gather(&results)
    if let failure { throw failure }
    if let logits { try share(logits, batches: batches) }
    var confusion = ConfusionMatrix(classCount: network.classCount)
    for result in results { confusion.add(result.confusion) }
    // In batch order, whoever computed them.
    let lossSum = results.reduce(0) { $0 + $1.lossSum }
    return Result(loss: lossSum / Double(confusion.exampleCount), confusion: confusion)
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

  /// The rank that computes a batch.
  private func evaluator(of batch: Int) -> Int { batch % evaluatorCount }

  private struct BatchResult {
    var lossSum = 0.0
    var confusion: [Int]

    init(classCount: Int) { confusion = [Int](repeating: 0, count: classCount * classCount) }

    init(words: ArraySlice<UInt64>) {
      lossSum = Double(bitPattern: words.first ?? 0)
      confusion = words.dropFirst().map { Int($0) }
    }

    var words: [UInt64] { [lossSum.bitPattern] + confusion.map(UInt64.init) }
  }

  private func evaluate(_ positions: Range<Int>) throws -> BatchResult {
    for (i, position) in positions.enumerated() {
      labels.pointer[i] = try split.readRecord(
        at: position % split.count, pixels: images.pointer + i * images.elementCountPerImage)
    }
    let count = positions.count
    let microbatchCount = (count + imagesPerMicrobatch - 1) / imagesPerMicrobatch
    let run = LocalBatch(
      network, globalImageCount: count, imagesPerMicrobatch: imagesPerMicrobatch,
      localRange: 0..<microbatchCount, tree: ReductionTree(leafCount: microbatchCount),
      communicator: SingleProcessCommunicator())
    try pass.forward(
      images.pointer, labels: labels.pointer, batch: run, statistics: configuration.evalStatistics)
    let loss = try pass.finishLoss(run)
    var confusion = ConfusionMatrix(classCount: network.classCount)
    for i in 0..<count {
      confusion.count(label: Int(labels.pointer[i]), prediction: pass.prediction(i))
    }
    var result = BatchResult(classCount: network.classCount)
    result.lossSum = loss * Double(count)
    result.confusion = confusion.counts
    return result
  }

  /// Brings every batch's result to every rank.
  private func gather(_ results: inout [BatchResult]) throws {
    guard communicator.worldSize > 1 else { return }
    let words = results.flatMap(\.words)
    var all = [UInt64](repeating: 0, count: words.count * communicator.worldSize)
    let byteCounts = [Int](
      repeating: words.count * MemoryLayout<UInt64>.stride, count: communicator.worldSize)
    try words.withUnsafeBytes { mine in
      try all.withUnsafeMutableBytes {
        try communicator.allGather(mine, into: $0, counts: byteCounts)
      }
    }
    for b in results.indices {
      let wordCount = words.count / results.count
      let first = evaluator(of: b) * words.count + b * wordCount
      results[b] = BatchResult(words: all[first..<first + wordCount])
    }
  }

  private func copyLogits(batch: Int, count: Int, to logits: UnsafeMutablePointer<Float>) {
    let classes = network.classCount
    (logits + batch * configuration.batchSize * classes)
      .update(from: pass.logits, count: count * classes)
  }

  /// Brings every batch's logits to every rank.
  private func share(_ logits: UnsafeMutablePointer<Float>, batches: [Range<Int>]) throws {
    let classes = network.classCount
    for (b, positions) in batches.enumerated() {
      let rows = UnsafeMutableBufferPointer(
        start: logits + b * configuration.batchSize * classes,
        count: positions.count * classes)
      try communicator.broadcast(UnsafeMutableRawBufferPointer(rows), root: evaluator(of: b))
    }
  }
}

/// How often images of one class were taken for another.
public struct ConfusionMatrix: Sendable, Hashable {
  /// The number of classes.
  public let classCount: Int
  /// The counts, `[label, prediction]`.
  public private(set) var counts: [Int]

  /// Makes a matrix of zeros.
  public init(classCount: Int) {
    self.classCount = classCount
    counts = [Int](repeating: 0, count: classCount * classCount)
  }

  /// Counts one image.
  public mutating func count(label: Int, prediction: Int) {
    counts[label * classCount + prediction] += 1
  }

  /// Adds the counts of other images, `[label, prediction]`.
  mutating func add(_ others: some Collection<Int>) {
    for (i, count) in others.enumerated() { counts[i] += count }
  }

  /// The counts of the images of one class, by prediction.
  public func row(_ label: Int) -> ArraySlice<Int> {
    counts[label * classCount..<(label + 1) * classCount]
  }

  /// The images.
  public var exampleCount: Int { counts.reduce(0, +) }
  /// The images that were taken for what they are.
  public var correctCount: Int {
    (0..<classCount).reduce(0) { $0 + counts[$1 * classCount + $1] }
  }

  /// The correct part of the images of one class, 0 … 1; nil if there were none.
  public func accuracy(label: Int) -> Double? {
    let total = row(label).reduce(0, +)
    return total == 0 ? nil : Double(counts[label * classCount + label]) / Double(total)
  }
}
