import Collectives
import Datasets
import Models
import Support
import Tensors

/// Loss and accuracy on test images, in batches that are distributed over the ranks.
///
/// One rank computes a whole batch, in the same microbatches as in training, so the result does not depend on the number
/// of ranks. Counts are integers, losses are summed in batch order, and no image is counted twice.
public final class Evaluation {
  /// The result of an evaluation.
  public struct Result: Sendable, Hashable {
    /// The mean cross entropy over the images.
    public let loss: Double
    /// The predictions of all images, by label.
    public let confusion: ConfusionMatrix
    /// The predictions by the mean of the logits of every image and its mirror image; `nil` unless asked for.
    public let mirroredConfusion: ConfusionMatrix?

    /// The number of images.
    public var exampleCount: Int { confusion.exampleCount }
    /// The number of images whose largest logit is at their label.
    public var correctCount: Int { confusion.correctCount }
    /// The fraction of correct images, 0 … 1.
    public var accuracy: Double { Double(correctCount) / Double(exampleCount) }
    /// The fraction that is correct with mirror images, 0 … 1.
    public var mirroredAccuracy: Double? { mirroredConfusion.map { Double($0.correctCount) / Double($0.exampleCount) } }
  }

  /// A stop request on some rank ended the evaluation; thrown on every rank.
  struct Interrupted: Error {}

  /// Called on this rank before each of its batches, with the batches before it and the number of all.
  public var onProgress: ((_ done: Int, _ total: Int) -> Void)?

  private let executor: ModelExecutor
  private let stop: StopRequest?
  private let split: ImageDataset.Split
  private let pipeline: ImagePipeline
  private let configuration: TrainingConfiguration
  private let communicator: any Communicator
  private let imagesPerMicrobatch: Int
  private let images: Tensor
  private let labels: AlignedBuffer<UInt8>
  private let mirroredLogits: AlignedBuffer<Float>
  private let graph: ModelGraph
  /// The number of ranks that evaluate, from rank 0 on.
  private let evaluatorCount: Int

  /// Allocates the memory of an evaluation; ranks that do not participate need none.
  ///
  /// - Parameters:
  ///   - model: Parameters and running statistics.
  ///   - split: The test images.
  ///   - pipeline: The preparation of the images.
  ///   - configuration: Batch size, microbatches and the `eval-` settings.
  ///   - engine: The convolution engine.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  ///   - stop: A request that ends an evaluation after a batch. If `nil`, every evaluation is complete.
  public init(
    _ model: ModelState, split: ImageDataset.Split, pipeline: ImagePipeline = ImagePipeline(),
    configuration: TrainingConfiguration, engine: any ConvolutionEngine, pool: WorkerPool,
    communicator: any Communicator, stop: StopRequest? = nil
  ) {
    self.split = split
    self.pipeline = pipeline
    self.stop = stop
    self.configuration = configuration
    self.communicator = communicator
    graph = model.graph
    evaluatorCount = configuration.evalRanks == .all ? communicator.worldSize : 1
    imagesPerMicrobatch = configuration.batchSize / configuration.microbatches
    let capacity = communicator.rank < evaluatorCount ? configuration.microbatches : 0
    images = Tensor(
      Shape(
        capacity * imagesPerMicrobatch, graph.imageSize, graph.imageSize,
        graph.imageChannels))
    labels = AlignedBuffer(count: capacity * imagesPerMicrobatch)
    mirroredLogits = AlignedBuffer(
      count: configuration.testFlip ? capacity * imagesPerMicrobatch * graph.classCount : 0)
    executor = ModelExecutor(
      graph, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatches: 0..<capacity, tree: ReductionTree(leafCount: configuration.microbatches),
      scope: configuration.batchNorm, purpose: .inference)
  }

  /// The bytes of all memory that the evaluation planned.
  public var byteCount: Int { executor.byteCount + images.byteCount + mirroredLogits.byteCount }

  /// The number of images of every evaluation.
  public var exampleCount: Int { batches(of: split, configuration.evalBatches, index: 0).reduce(0) { $0 + $1.count } }

  /// The index in the test set of every image of an evaluation, in the order of its logits.
  ///
  /// - Parameter index: The number of evaluations before it.
  /// - Returns: The indices.
  public func images(index: Int) -> [Int] {
    batches(of: split, configuration.evalBatches, index: index).flatMap { $0 }.map { $0 % split.count }
  }

  /// The predictions of an evaluation of the test images.
  ///
  /// - Parameters:
  ///   - logits: The logits that it has written, `[exampleCount, classes]`.
  ///   - index: The number of evaluations before it.
  ///   - step: The last step of the weights.
  ///   - weights: The weights.
  /// - Returns: The predictions.
  /// - Throws: `DatasetError` if a record is invalid.
  public func predictions(
    logits: ParameterStore, index: Int, step: Int, weights: EvaluatedWeights
  ) throws -> Predictions {
    try Predictions(
      logits: UnsafeBufferPointer(logits.elements), images: images(index: index), split: split, step: step,
      weights: weights, statistics: configuration.evalStatistics.rawValue)
  }

  /// Allocates a store for the logits of an evaluation: the tensor `logits` `[exampleCount, classes]`.
  public func makeLogits() -> ParameterStore {
    var layout = ParameterLayout()
    layout.append("logits", .bias, Shape(exampleCount, graph.classCount))
    return ParameterStore(layout)
  }

  /// Collective: evaluates; blocks until all ranks have contributed their batches.
  ///
  /// Bitwise reproducible for any number of ranks and threads.
  ///
  /// - Parameters:
  ///   - other: Other images to evaluate, all of them. If `nil`, the test images that the settings ask for.
  ///   - index: The number of evaluations before this one, which decides where in the endless test stream it starts.
  ///   - logits: Receives the logits of every image on every rank, `[exampleCount, classes]`. If `nil`, logits are not
  ///     sent.
  /// - Returns: The result over all images, on every rank.
  /// - Throws: `DatasetError` if a record is invalid, `CommunicationError` if a message fails, ``Interrupted`` on every rank
  ///   after a stop request on any.
  public func callAsFunction(
    of other: ImageDataset.Split? = nil, index: Int, logits: UnsafeMutablePointer<Float>? = nil
  ) throws -> Result {
    let split = other ?? split
    let batches = batches(of: split, other == nil ? configuration.evalBatches : .all, index: index)
    let empty = BatchResult(classCount: graph.classCount, isMirrored: configuration.testFlip)
    var results = [BatchResult](repeating: empty, count: batches.count)
    var failure: (any Error)?
    var isInterrupted = false
    do {
      for b in batches.indices where rank(evaluating: b) == communicator.rank {
        isInterrupted = stop?.isRequested ?? false
        if isInterrupted { break }
        communicator.statistics.activity.progress()
        onProgress?(b, batches.count)
        results[b] = try evaluate(batches[b], of: split)
        if let logits { copyLogits(batch: b, count: batches[b].count, to: logits) }
      }
    } catch {
      failure = error
    }
    try allGather(&results, &isInterrupted)
    if let failure { throw failure }
    if isInterrupted { throw Interrupted() }
    if let logits { try broadcastLogits(logits, batches: batches) }
    var confusion = ConfusionMatrix(classCount: graph.classCount)
    var mirrored = ConfusionMatrix(classCount: graph.classCount)
    for result in results {
      confusion.add(result.confusion)
      mirrored.add(result.mirroredConfusion)
    }
    // In batch order, whichever rank computed them.
    let lossSum = results.reduce(0) { $0 + $1.lossSum }
    return Result(
      loss: lossSum / Double(confusion.exampleCount), confusion: confusion,
      mirroredConfusion: configuration.testFlip ? mirrored : nil)
  }

  /// The positions in the endless test stream of each batch.
  private func batches(
    of split: ImageDataset.Split, _ batches: TrainingConfiguration.EvaluationBatches, index: Int
  ) -> [Range<Int>] {
    let size = configuration.batchSize
    switch batches {
    case .next(let count):
      // Trax takes one batch before the first evaluation (trax/supervised/training.py), and never rewinds.
      let start = size + index * count * size
      return (0..<count).map { start + $0 * size..<start + ($0 + 1) * size }
    case .all:
      return stride(from: 0, to: split.count, by: size).map { $0..<min($0 + size, split.count) }
    }
  }

  /// The rank that computes a batch.
  private func rank(evaluating batch: Int) -> Int { batch % evaluatorCount }

  /// The sums of one batch, which ranks send as 64-bit words.
  private struct BatchResult {
    var lossSum = 0.0
    var confusion: [Int]
    /// Empty unless mirror images are evaluated, too.
    var mirroredConfusion: [Int]

    init(classCount: Int, isMirrored: Bool) {
      confusion = [Int](repeating: 0, count: classCount * classCount)
      mirroredConfusion = isMirrored ? confusion : []
    }

    init(words: ArraySlice<UInt64>, isMirrored: Bool) {
      lossSum = Double(bitPattern: words.first ?? 0)
      let counts = words.dropFirst().map { Int($0) }
      let length = isMirrored ? counts.count / 2 : counts.count
      confusion = Array(counts[..<length])
      mirroredConfusion = Array(counts[length...])
    }

    var words: [UInt64] { [lossSum.bitPattern] + (confusion + mirroredConfusion).map(UInt64.init) }
  }

  private func evaluate(_ positions: Range<Int>, of split: ImageDataset.Split) throws -> BatchResult {
    var result = BatchResult(classCount: graph.classCount, isMirrored: configuration.testFlip)
    if configuration.testFlip {
      // First, so that the logits of the images themselves are those that remain.
      _ = try computeLogits(positions, of: split, isMirrored: true)
      mirroredLogits.pointer.update(from: executor.logits, count: positions.count * graph.classCount)
    }
    result.lossSum = try computeLogits(positions, of: split, isMirrored: false) * Double(positions.count)
    var confusion = ConfusionMatrix(classCount: graph.classCount)
    var mirrored = ConfusionMatrix(classCount: graph.classCount)
    for i in 0..<positions.count {
      let label = Int(labels.pointer[i])
      confusion.count(label: label, prediction: executor.prediction(i))
      if configuration.testFlip {
        mirrored.count(label: label, prediction: executor.prediction(i, adding: mirroredLogits.pointer))
      }
    }
    result.confusion = confusion.counts
    if configuration.testFlip { result.mirroredConfusion = mirrored.counts }
    return result
  }

  /// Computes the logits of a batch, which the executor holds, and returns the mean cross entropy.
  private func computeLogits(_ positions: Range<Int>, of split: ImageDataset.Split, isMirrored: Bool) throws -> Double {
    for (i, position) in positions.enumerated() {
      labels.pointer[i] = try pipeline.readTest(
        split, at: position % split.count, view: ImageView(isMirrored: isMirrored),
        into: images.pointer + i * images.elementCountPerImage)
    }
    let count = positions.count
    let microbatchCount = count.dividedRoundingUp(by: imagesPerMicrobatch)
    let batch = LocalBatch(
      graph, globalImageCount: count, imagesPerMicrobatch: imagesPerMicrobatch,
      localRange: 0..<microbatchCount, tree: ReductionTree(leafCount: microbatchCount),
      communicator: SingleProcessCommunicator())
    try executor.forward(
      images.pointer, labels: labels.pointer, batch: batch, statistics: configuration.evalStatistics)
    return try executor.finishLoss(batch)
  }

  /// Collective: replaces every batch's result by that of the rank that computed it, and learns of stop requests.
  private func allGather(_ results: inout [BatchResult], _ isInterrupted: inout Bool) throws {
    guard communicator.worldSize > 1 else { return }
    let words = results.flatMap(\.words) + [isInterrupted ? 1 : 0]
    let all = try communicator.allGather(words)
    isInterrupted = (1...communicator.worldSize).contains { all[$0 * words.count - 1] != 0 }
    for b in results.indices {
      let wordCount = (words.count - 1) / results.count
      let start = rank(evaluating: b) * words.count + b * wordCount
      results[b] = BatchResult(words: all[start..<start + wordCount], isMirrored: configuration.testFlip)
    }
  }

  private func copyLogits(batch: Int, count: Int, to logits: UnsafeMutablePointer<Float>) {
    let classes = graph.classCount
    (logits + batch * configuration.batchSize * classes)
      .update(from: executor.logits, count: count * classes)
  }

  /// Collective: broadcasts every batch's logits from the rank that computed them.
  private func broadcastLogits(_ logits: UnsafeMutablePointer<Float>, batches: [Range<Int>]) throws {
    let classes = graph.classCount
    for (b, positions) in batches.enumerated() {
      let rows = UnsafeMutableBufferPointer(
        start: logits + b * configuration.batchSize * classes,
        count: positions.count * classes)
      try communicator.broadcast(UnsafeMutableRawBufferPointer(rows), root: rank(evaluating: b))
    }
  }
}

/// How often images of each class were predicted as each class.
public struct ConfusionMatrix: Sendable, Hashable {
  /// The number of classes.
  public let classCount: Int
  /// The counts, `[label, prediction]`.
  public private(set) var counts: [Int]

  /// Creates a matrix of zeros.
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

  /// The number of images.
  public var exampleCount: Int { counts.reduce(0, +) }
  /// The number of images predicted as their class.
  public var correctCount: Int {
    (0..<classCount).reduce(0) { $0 + counts[$1 * classCount + $1] }
  }

  /// The fraction of images of one class that are predicted correctly, 0 … 1; `nil` if the class has no images.
  public func accuracy(label: Int) -> Double? {
    let total = row(label).reduce(0, +)
    return total == 0 ? nil : Double(counts[label * classCount + label]) / Double(total)
  }
}
