import Collectives
import DataParallel
import Models
import Optimizers
import Tensors
import Tracing

/// One training step: what every rank does with one batch, in a straight line.
///
/// All memory is planned at the start; a step allocates nothing. Every method is collective: every rank calls it, in the
/// same order.
///
/// A step returns while other ranks' parameters are still on their way; the next one waits for them layer by layer.
/// Whoever else reads parameters calls ``finish()`` first.
public final class TrainingStep {
  let plan: MicrobatchPlan
  private let pass: ModelExecutor
  private let run: LocalBatch
  private let exchange: GradientReducer
  private let summary: StepSummary
  private let moments: OptimizerStateShard
  private let optimizer: Adam
  private let schedule: LearningRateSchedule
  private let model: ModelState
  private let mode: OptimizerStateMode
  /// The gradient of the last step, averaged over the global batch: of this rank's slices, or with replicated moments
  /// of all.
  package let gradients: ParameterStore
  private let pool: WorkerPool
  private let communicator: any Communicator
  private let spans: StepTraceLabels

  /// What a step reports.
  public struct Result: Sendable {
    /// The mean loss over the global batch, before the update.
    public let loss: Float
    /// The learning rate of the update.
    public let learningRate: Float
    /// The Euclidean norm of the averaged gradient of all parameters.
    public let gradientNorm: Float
    /// Whether any rank was asked to stop.
    public let stopRequested: Bool
    /// The seconds of the step that this rank waited for messages: communication that nothing hid.
    public let communicationSeconds: Double
    /// The seconds of the whole step on this rank.
    public let stepSeconds: Double

    /// Makes a report.
    package init(
      loss: Float, learningRate: Float, gradientNorm: Float, stopRequested: Bool = false,
      communicationSeconds: Double = 0, stepSeconds: Double = 0
    ) {
      self.loss = loss
      self.learningRate = learningRate
      self.gradientNorm = gradientNorm
      self.stopRequested = stopRequested
      self.communicationSeconds = communicationSeconds
      self.stepSeconds = stepSeconds
    }
  }

  /// Plans a step.
  ///
  /// It does not communicate; ``begin()`` follows on every rank.
  ///
  /// - Parameters:
  ///   - model: Parameters, running statistics and moments; updated by every step.
  ///   - plan: How the batch is divided.
  ///   - configuration: Batch norm, optimizer, learning rate, exchange.
  ///   - engine: What computes convolutions.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  ///   - tracer: Records what takes how long.
  public init(
    _ model: ModelState, plan: MicrobatchPlan, configuration: TrainingConfiguration,
    engine: any ConvolutionEngine, pool: WorkerPool, communicator: any Communicator,
    tracer: Tracer? = nil
  ) {
    self.model = model
    self.plan = plan
    self.pool = pool
    self.communicator = communicator
    spans = StepTraceLabels(tracer, worldSize: communicator.worldSize)
    let network = model.network
    let pass = ModelExecutor(
      network, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: plan.localMicrobatches, tree: plan.tree, scope: configuration.batchNorm,
      purpose: .training, roundingLevel: configuration.wire.roundingLevel(of: plan.tree),
      tracer: tracer)
    self.pass = pass
    run = LocalBatch(
      network, globalImageCount: plan.globalBatchSize,
      imagesPerMicrobatch: plan.imagesPerMicrobatch, localRange: plan.localMicrobatches,
      tree: plan.tree, communicator: communicator)
    gradients = pass.subtreeGradients[0]
    mode = configuration.optimizerState
    exchange = GradientReducer(
      plan: BucketPlan(
        elementCount: network.parameterCount, bucketByteCount: configuration.bucketByteCount),
      tree: plan.tree, wire: configuration.wire, communicator: communicator,
      segments: pass.subtreeGradients.map(\.pointer),
      target: mode == .sharded ? model.parameters.pointer : gradients.pointer, tracer: tracer)
    summary = StepSummary(exchange, communicator: communicator)
    moments = OptimizerStateShard(model, mode: mode, exchange: exchange, communicator: communicator)
    optimizer = Adam(
      configuration.optimizer, firstMoment: moments.first, secondMoment: moments.second)
    schedule = .constant(configuration.learningRate)
  }

  /// The bytes of all memory that the step planned, moments included, without parameters and running statistics.
  public var byteCount: Int { pass.byteCount + exchange.byteCount + moments.byteCount }

  /// The logits of this rank's images of the last step, `[images, classes]`.
  package var logits: UnsafePointer<Float> { pass.logits }

  /// Gives every rank the moments of its slices, and checks that all ranks cut the gradient alike.
  ///
  /// Every rank calls it once, before the first step.
  ///
  /// - Throws: `ConsistencyDigest.Mismatch` on every rank if the cuts differ; ``CommunicationError`` if an exchange fails.
  public func begin() throws {
    try exchange.requireEqualPlans()
    try moments.take(from: model)
  }

  /// Computes step `step` (the first is 1) on this rank's images and updates the model.
  ///
  /// - Parameters:
  ///   - images: This rank's images of the step's batch, `NHWC`, raw pixels.
  ///   - labels: A class an image.
  ///   - step: The number of the step.
  ///   - stopRequested: Whether this rank was asked to stop; all are told.
  /// - Returns: Loss, learning rate, gradient norm and whether any rank was asked to stop, the same on every rank; and
  ///   how long this one took and waited.
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func callAsFunction(
    _ images: UnsafePointer<Float>, labels: UnsafePointer<UInt8>, step: Int, stopRequested: Bool = false
  ) throws -> Result {
    let began = monotonicNanoseconds()
    let waitedBefore = communicator.statistics.waitedNanoseconds
    let update = Update(step: step, learningRate: schedule(step))
    // A layer is computed as soon as its parameters have come from the ranks that updated them.
    try pass.forward(images, labels: labels, batch: run, statistics: .batch) { count in
      try spans.recordWait(spans.layerWait) { try exchange.waitForAllGather(ofFirst: count) }
    }
    try exchange.finish()
    try pass.startRunningStatistics(run)

    exchange.begin()
    try pass.backward(images, batch: run) { elements in
      // Full buckets start to the owners of their slices; what has come from other ranks meanwhile is used at once.
      try exchange.gradientReady(elements)
      while let bucket = try exchange.nextReducedBucket(waiting: false) { try apply(update, bucket) }
    }
    while let bucket = try spans.recordWait(
      spans.bucketWait, { try exchange.nextReducedBucket(waiting: true) })
    {
      try apply(update, bucket)
    }
    try summary.start(stopRequested: stopRequested)
    if mode == .replicated { try applyToAll(update) }

    try pass.finishRunningStatistics(run)
    let loss = try pass.finishLoss(run)
    let (squareSum, stopRequested) = try spans.recordWait(spans.summaryWait) { try summary.finish() }
    return Result(
      loss: Float(loss), learningRate: Float(update.learningRate),
      gradientNorm: Float(squareSum.squareRoot()), stopRequested: stopRequested,
      communicationSeconds: Self.seconds(communicator.statistics.waitedNanoseconds &- waitedBefore),
      stepSeconds: Self.seconds(monotonicNanoseconds() &- began))
  }

  /// Waits for the parameters that other ranks have updated in the last step.
  ///
  /// Every rank calls it before parameters are read by anything but the next step.
  ///
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func finish() throws { try exchange.finish() }

  /// Calls a body with the model as a checkpoint holds it: on rank 0 all moments are in it.
  ///
  /// Every rank calls it.
  ///
  /// - Parameter body: What to do with the model.
  /// - Throws: ``CommunicationError`` if an exchange fails, and what `body` throws.
  public func withGatheredState(_ body: (ModelState) throws -> Void) throws {
    try finish()
    try moments.collect(into: model)
    defer { moments.releaseGathered(model) }
    try body(model)
  }

  /// What an update depends on, apart from the gradient.
  private struct Update {
    let step: Int
    let learningRate: Double
  }

  /// Finishes the sum of this rank's slice of a bucket, updates its parameters, and hands them out; or, where every rank
  /// updates all parameters, hands out the gradient.
  private func apply(_ update: Update, _ bucket: Int) throws {
    let shard = exchange.ownedShard(bucket)
    let start = spans.now()
    pool.parallelFor(Self.pieces(shard), with: (self, update, bucket, shard), label: spans.update) {
      context, i, _ in
      let (owner, update, bucket, shard) = context
      let piece = Self.piece(i, of: shard)
      owner.exchange.sum(piece, of: bucket)
      owner.summary.addSquares(piece, of: owner.gradients.pointer)
      if owner.mode == .sharded { owner.optimize(update, piece, bucket) }
    }
    spans.record(spans.update, since: start)
    try exchange.gather(bucket)
  }

  /// Updates all parameters, bucket by bucket as their gradients come in.
  private func applyToAll(_ update: Update) throws {
    for (bucket, elements) in exchange.plan.buckets.enumerated() {
      try spans.recordWait(spans.bucketWait) { try exchange.waitForAllGather(bucket) }
      let start = spans.now()
      pool.parallelFor(Self.pieces(elements), with: (self, update, bucket, elements), label: spans.update) {
        context, i, _ in
        let (owner, update, bucket, elements) = context
        owner.optimize(update, Self.piece(i, of: elements), bucket)
      }
      spans.record(spans.update, since: start)
    }
  }

  private func optimize(_ update: Update, _ elements: Range<Int>, _ bucket: Int) {
    optimizer.step(
      parameters: model.parameters, gradients: gradients, learningRate: update.learningRate,
      step: update.step, range: elements,
      momentsAt: moments.place(of: elements.lowerBound, bucket: bucket))
  }

  private static func seconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) * 1e-9 }

  // 64 KiB of each array: large enough to hand out, small enough to stay in a cache from the sum to the update.
  private static let pieceCount = 32 * BucketPlan.chunkLength
  private static func pieces(_ range: Range<Int>) -> Int {
    (range.count + pieceCount - 1) / pieceCount
  }
  private static func piece(_ i: Int, of range: Range<Int>) -> Range<Int> {
    let first = range.lowerBound + i * pieceCount
    return first..<min(first + pieceCount, range.upperBound)
  }
}

/// What a step is made of beside the layers, in a trace: updates, and waits for other ranks.
struct StepTraceLabels {
  private let tracer: Tracer?
  private let hasPeers: Bool
  /// Summing and updating a slice of a bucket.
  let update: TraceLabel
  /// The wait for parameters that the next layer reads.
  let layerWait: TraceLabel
  /// The wait for a bucket's partial sums, or for its gradient.
  let bucketWait: TraceLabel
  /// The wait for what ranks tell each other at the end of a step.
  let summaryWait: TraceLabel

  /// Makes the labels.
  init(_ tracer: Tracer?, worldSize: Int) {
    self.tracer = tracer
    hasPeers = worldSize > 1
    update = tracer.label("update", "update")
    layerWait = tracer.label("layer wait", "wait")
    bucketWait = tracer.label("bucket wait", "wait")
    summaryWait = tracer.label("summary wait", "wait")
  }

  /// Reads the clock if something is traced.
  func now() -> UInt64 { tracer.now() }

  /// Records a span of the thread that trains, which ends now.
  func record(_ label: TraceLabel, since start: UInt64) { tracer.record(label, since: start) }

  /// Waits, and records how long if there are ranks to wait for.
  func recordWait<Value>(_ label: TraceLabel, _ body: () throws -> Value) rethrows -> Value {
    guard hasPeers else { return try body() }
    let start = tracer.now()
    defer { tracer.record(label, since: start) }
    return try body()
  }
}
