import Collectives
import DataParallel
import Models
import Optimizers
import Support
import Tensors
import Tracing

/// One training step, from a rank's images to updated parameters.
///
/// All memory is planned at the start, and a step allocates nothing. All methods are collective: every rank calls them in
/// the same order.
///
/// A step returns while all-gathers of parameters are in flight. The next step waits for them layer by layer. Other
/// readers of the parameters must call ``waitForParameters()`` first.
public final class TrainingStep {
  private let executor: ModelExecutor
  private let localBatch: LocalBatch
  private let reducer: GradientReducer
  private let summary: StepSummary
  private let optimizer: Optimizer
  private let optimizerState: OptimizerStateShard
  private let integrity: IntegrityCheck
  /// Called when a phase begins, for fault injection.
  package var onPhase: ((RankActivity.Phase) -> Void)?
  private let schedule: LearningRateSchedule
  private let model: ModelState
  private let mode: OptimizerStateMode
  /// The gradient of the last step, averaged over the global batch.
  ///
  /// With sharded optimizer state only this rank's shards are valid.
  package let gradients: ParameterStore
  private let pool: WorkerPool
  private let communicator: any Communicator
  private let traceLabels: StepTraceLabels

  /// The numbers that a step reports.
  public struct Result: Sendable {
    /// The mean loss over the global batch, before the update.
    public let loss: Float
    /// The learning rate of the update.
    public let learningRate: Float
    /// The Euclidean norm of the averaged gradient of all parameters.
    public let gradientNorm: Float
    /// Whether any rank has a stop request.
    public let stopRequested: Bool
    /// The seconds of the step that this rank waited for messages: communication that computation did not hide.
    public let communicationSeconds: Double
    /// The seconds of the whole step on this rank.
    public let stepSeconds: Double

    /// Creates a result.
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

  /// Allocates all memory of a step.
  ///
  /// It does not communicate; ``prepare()`` must follow on every rank.
  ///
  /// - Parameters:
  ///   - model: Parameters, running statistics and optimizer states; updated by every step.
  ///   - plan: The division of the batch into microbatches and ranks.
  ///   - configuration: Batch norm, optimizer, learning rate and gradient all-reduce.
  ///   - rule: The update rule. If `nil`, the configuration's.
  ///   - engine: The convolution engine.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  ///   - tracer: Records the step's spans. If `nil`, nothing is traced.
  public init(
    _ model: ModelState, plan: MicrobatchPlan, configuration: TrainingConfiguration,
    rule: (any UpdateRule)? = nil, engine: any ConvolutionEngine, pool: WorkerPool,
    communicator: any Communicator, tracer: Tracer? = nil
  ) {
    self.model = model
    self.pool = pool
    self.communicator = communicator
    traceLabels = StepTraceLabels(tracer, worldSize: communicator.worldSize)
    let graph = model.graph
    let executor = ModelExecutor(
      graph, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: plan.localMicrobatches, tree: plan.tree, scope: configuration.batchNorm,
      purpose: .training, roundingLevel: configuration.wire.roundingLevel(of: plan.tree),
      tracer: tracer)
    self.executor = executor
    localBatch = LocalBatch(
      graph, globalImageCount: plan.globalBatchSize,
      imagesPerMicrobatch: plan.imagesPerMicrobatch, localRange: plan.localMicrobatches,
      tree: plan.tree, communicator: communicator)
    gradients = executor.subtreeGradients[0]
    mode = configuration.optimizerState
    reducer = GradientReducer(
      plan: BucketPlan(
        elementCount: graph.parameterCount, bucketByteCount: configuration.bucketByteCount),
      tree: plan.tree, wire: configuration.wire, communicator: communicator,
      subtreeSums: executor.subtreeGradients.map(\.pointer),
      target: mode == .sharded ? model.parameters.pointer : gradients.pointer, tracer: tracer)
    optimizer = Optimizer(rule ?? configuration.optimizer.rule, layout: graph.parameterLayout)
    optimizerState = OptimizerStateShard(
      model, names: optimizer.rule.stateNames, mode: mode, shards: reducer.shards, communicator: communicator)
    integrity = IntegrityCheck(
      model, states: optimizerState, stateNames: optimizer.rule.stateNames, reducer: reducer, mode: mode, pool: pool,
      communicator: communicator)
    summary = StepSummary(reducer, communicator: communicator, wordCount: integrity.wordCount)
    schedule = .constant(configuration.learningRate)
    integrity.recordAll()
  }

  /// The bytes of all memory that the step planned: optimizer states, also gathered ones, but not parameters and running
  /// statistics.
  public var byteCount: Int {
    executor.byteCount + reducer.byteCount + integrity.byteCount + optimizerState.byteCount
      + optimizerState.gatheredByteCount
  }

  /// The logits of this rank's images of the last step, `[images, classes]`.
  package var logits: UnsafePointer<Float> { executor.logits }

  /// Collective: verifies that all ranks plan the same shards, and scatters the optimizer's states.
  ///
  /// Call it once, before the first step.
  ///
  /// - Throws: `ConsistencyDigest.Mismatch` on every rank if the plans differ; `CommunicationError` if a message fails.
  public func prepare() throws {
    try reducer.verifyEqualPlans()
    try optimizerState.scatter(from: model)
    integrity.recordAll()
  }

  /// Collective: computes a step on this rank's images and updates the model.
  ///
  /// Blocks until every rank has contributed its gradient. Bitwise reproducible for any number of ranks and threads.
  ///
  /// - Parameters:
  ///   - images: This rank's images of the step's batch, `NHWC`, raw pixels from 0 to 255.
  ///   - labels: The class of each image.
  ///   - step: The number of the step, from 1.
  ///   - stopRequested: Whether this rank has a stop request.
  /// - Returns: Loss, learning rate, gradient norm and stop request, equal on every rank; and this rank's times.
  /// - Throws: `CommunicationError` if a message fails; ``RanksDesynchronized`` on every rank if parameters, states or
  ///   running statistics have changed in memory since the last step.
  public func callAsFunction(
    _ images: UnsafePointer<Float>, labels: UnsafePointer<UInt8>, step: Int, stopRequested: Bool = false
  ) throws -> Result {
    let start = MonotonicClock.now()
    let activity = communicator.statistics.activity
    activity.enter(.forward)
    onPhase?(.forward)
    let waitedBefore = communicator.statistics.waitedNanoseconds
    let update = Update(step: step, learningRate: schedule(step))
    // A layer's forward pass starts as soon as its parameters have arrived from the ranks that updated them.
    try executor.forward(images, labels: labels, batch: localBatch, statistics: .batch) { count in
      activity.enter(.forward, element: count - 1)
      return try traceLabels.recordWait(traceLabels.layerWait) { try reducer.waitForAllGather(ofFirst: count) }
    }
    try waitForParameters()
    try executor.startRunningStatistics(localBatch)

    activity.enter(.backward)
    onPhase?(.backward)
    reducer.beginBackward()
    try executor.backward(images, batch: localBatch) { elements in
      // Complete buckets are sent to the owners of their shards; buckets that have been reduced meanwhile are applied.
      activity.enter(.backward, element: elements.lowerBound)
      try reducer.gradientReady(elements)
      while let bucket = try reducer.nextReducedBucket(waiting: false) { try apply(update, bucket) }
    }
    activity.enter(.update)
    onPhase?(.update)
    while let bucket = try traceLabels.recordWait(
      traceLabels.bucketWait, { try reducer.nextReducedBucket(waiting: true) })
    {
      try apply(update, bucket)
    }
    integrity.fill(summary.words)
    try summary.start(stopRequested: stopRequested)
    if mode == .replicated { try applyToAll(update) }

    try executor.finishRunningStatistics(localBatch)
    integrity.recordStatistics()
    let loss = try executor.finishLoss(localBatch)
    let (squareSum, stopRequested) = try traceLabels.recordWait(traceLabels.summaryWait) { try summary.finish() }
    do { try integrity.verify(step: step - 1) { summary.words(of: $0) } } catch {
      try waitForParameters()
      throw error
    }
    return Result(
      loss: Float(loss), learningRate: Float(update.learningRate),
      gradientNorm: Float(squareSum.squareRoot()), stopRequested: stopRequested,
      communicationSeconds: MonotonicClock.seconds(communicator.statistics.waitedNanoseconds &- waitedBefore),
      stepSeconds: MonotonicClock.seconds(since: start))
  }

  /// Collective: waits until this rank has the parameters that other ranks updated in the last step.
  ///
  /// Call it before anything but the next step reads parameters.
  ///
  /// - Throws: `CommunicationError` if a message fails.
  public func waitForParameters() throws { try reducer.waitForAllGathers() }

  /// Collective: verifies that nothing that a run carries from step to step has changed in memory, on any rank.
  ///
  /// Every step does so as well, for what the step before has written.
  ///
  /// - Parameter step: The last step done.
  /// - Throws: ``RanksDesynchronized`` on every rank if anything has changed; `CommunicationError` if a message fails.
  public func verifyIntegrity(step: Int) throws {
    try waitForParameters()
    try integrity.verifyAll(step: step)
  }

  /// Flips a bit of an optimizer state for a test; does nothing if another rank has the element.
  ///
  /// - Parameters:
  ///   - state: The index of the state.
  ///   - element: The flat parameter element.
  ///   - bit: The bit, 0 … 31.
  package func flip(state: Int, element: Int, bit: Int) {
    guard let bucket = reducer.plan.buckets.firstIndex(where: { $0.contains(element) }),
      mode == .replicated || reducer.ownedShard(bucket).contains(element)
    else { return }
    let target = optimizerState.states[state].pointer + optimizerState.offset(of: element, bucket: bucket)
    target.pointee = Float(bitPattern: target.pointee.bitPattern ^ 1 << UInt32(bit))
  }

  /// The names of the optimizer's states.
  package var stateNames: [String] { optimizer.rule.stateNames }

  /// Collective: calls a body with the model as a checkpoint holds it: rank 0's has all optimizer states.
  ///
  /// Blocks rank 0 until all ranks have sent their states.
  ///
  /// - Parameter body: Called on every rank with the model.
  /// - Throws: `CommunicationError` if a message fails; the error of `body`.
  public func withGatheredState(_ body: (ModelState) throws -> Void) throws {
    try waitForParameters()
    try optimizerState.gather(into: model)
    defer { optimizerState.releaseGathered(model) }
    try body(model)
  }

  /// The scalars of an update.
  private struct Update {
    let step: Int
    let learningRate: Double
  }

  /// Reduces this rank's shard of a bucket, updates its parameters and starts their all-gather.
  ///
  /// With replicated optimizer state it all-gathers the gradient instead.
  private func apply(_ update: Update, _ bucket: Int) throws {
    let items = Self.workItems(reducer.ownedShard(bucket))
    let start = traceLabels.now()
    pool.parallelFor(items.count, with: (self, update, bucket, items), label: traceLabels.update) { context, item, _ in
      let (owner, update, bucket, items) = context
      let elements = items[item]
      owner.reducer.finishReduction(elements, of: bucket)
      owner.summary.addSquares(elements, of: owner.gradients.pointer)
      if owner.mode == .sharded { owner.optimize(update, elements, bucket) }
    }
    integrity.holdBeforeAllGather(bucket)
    traceLabels.record(traceLabels.update, since: start)
    try reducer.allGather(bucket)
  }

  /// Updates all parameters, bucket by bucket as their gradients arrive.
  private func applyToAll(_ update: Update) throws {
    for (bucket, elements) in reducer.plan.buckets.enumerated() {
      try traceLabels.recordWait(traceLabels.bucketWait) { try reducer.waitForAllGather(bucket) }
      let items = Self.workItems(elements)
      let start = traceLabels.now()
      pool.parallelFor(items.count, with: (self, update, bucket, items), label: traceLabels.update) {
        context, item, _ in
        let (owner, update, bucket, items) = context
        owner.optimize(update, items[item], bucket)
      }
      traceLabels.record(traceLabels.update, since: start)
    }
  }

  private func optimize(_ update: Update, _ elements: Range<Int>, _ bucket: Int) {
    if mode == .sharded { integrity.verifyBeforeUpdate(elements, bucket) }
    let operands = UpdateOperands(
      elements, parameters: model.parameters, gradients: gradients, states: optimizerState.states,
      stateOffset: optimizerState.offset(of: elements.lowerBound, bucket: bucket))
    optimizer.update(operands, step: update.step, learningRate: update.learningRate)
    integrity.recordUpdate(elements, bucket)
  }

  /// Divides elements of the flat gradient into work items of whole chunks.
  ///
  /// An item is 64 KiB of each array: large enough to schedule, small enough to stay in a cache from the reduction to
  /// the update.
  package static func workItems(_ elements: Range<Int>) -> WorkDivision {
    WorkDivision(elements, itemSize: 32 * BucketPlan.chunkLength)
  }
}

/// The labels of a step's spans outside the layers: updates, and waits for other ranks.
private struct StepTraceLabels {
  private let tracer: Tracer?
  private let hasPeers: Bool
  /// The reduction and update of a shard of a bucket.
  let update: TraceLabel
  /// The wait for parameters that the next layer reads.
  let layerWait: TraceLabel
  /// The wait for a bucket's partial sums, or for its gradient.
  let bucketWait: TraceLabel
  /// The wait for the other ranks' step summaries.
  let summaryWait: TraceLabel

  /// Creates the labels.
  init(_ tracer: Tracer?, worldSize: Int) {
    self.tracer = tracer
    hasPeers = worldSize > 1
    update = tracer.label("update", "update")
    layerWait = tracer.label("layer wait", "wait")
    bucketWait = tracer.label("bucket wait", "wait")
    summaryWait = tracer.label("summary wait", "wait")
  }

  /// Reads the clock if a tracer records.
  func now() -> UInt64 { tracer.now() }

  /// Records a span of the training thread that ends now.
  func record(_ label: TraceLabel, since start: UInt64) { tracer.record(label, since: start) }

  /// Calls a body that waits, and records its span if there are other ranks.
  func recordWait<Value>(_ label: TraceLabel, _ body: () throws -> Value) rethrows -> Value {
    guard hasPeers else { return try body() }
    let start = tracer.now()
    defer { tracer.record(label, since: start) }
    return try body()
  }
}
