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
  let executor: ModelExecutor
  let localBatch: LocalBatch
  let reducer: GradientReducer
  let summary: StepSummary
  let optimizer: Optimizer
  private let optimizerState: OptimizerStateShard
  let integrity: IntegrityCheck
  /// Called when a phase begins, for fault injection.
  package var onPhase: ((RankActivity.Phase) -> Void)?
  /// Called when gradients of this rank's microbatches are complete, for fault injection.
  package var onGradient: ((Range<Int>, ParameterStore) throws -> Void)?
  let schedule: LearningRateSchedule
  /// The norm that larger gradients are scaled down to; 0 for none.
  private let clipNorm: Double
  /// What a step does whose numbers are not finite.
  private let policy: NonfinitePolicy
  let plan: MicrobatchPlan
  private let computeTimes: ComputeTimes
  private let model: ModelState
  let mode: OptimizerStateMode
  /// The gradient of the last step, averaged over the global batch.
  ///
  /// With sharded optimizer state only this rank's shards are valid.
  package let gradients: ParameterStore
  private let pool: WorkerPool
  let communicator: any Communicator
  private let traceLabels: StepTraceLabels

  /// Allocates all memory of a step.
  ///
  /// It does not communicate; ``prepare()`` must follow on every rank.
  ///
  /// - Parameters:
  ///   - model: Parameters, running statistics and optimizer states; updated by every step.
  ///   - otherSizes: The model's graph at other image sizes than that of `model`.
  ///   - plan: The division of the batch into microbatches and ranks.
  ///   - configuration: Batch norm, loss, optimizer and gradient all-reduce.
  ///   - schedule: The learning rate. If `nil`, the configuration's rate at every step.
  ///   - rule: The update rule. If `nil`, the configuration's.
  ///   - engine: The convolution engine.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  ///   - tracer: Records the step's spans. If `nil`, nothing is traced.
  public init(
    _ model: ModelState, otherSizes: [ModelGraph] = [], plan: MicrobatchPlan, configuration: TrainingConfiguration,
    schedule: LearningRateSchedule? = nil, rule: (any UpdateRule)? = nil, engine: any ConvolutionEngine,
    pool: WorkerPool,
    communicator: any Communicator, tracer: Tracer? = nil
  ) {
    self.model = model
    self.plan = plan
    policy = configuration.onNonfinite
    self.pool = pool
    self.communicator = communicator
    traceLabels = StepTraceLabels(tracer, worldSize: communicator.worldSize)
    let graph = model.graph
    let executor = ModelExecutor(
      graph, otherSizes: otherSizes, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: plan.localMicrobatches, tree: plan.tree, scope: configuration.batchNorm,
      purpose: .training, roundingLevel: configuration.wire.roundingLevel(of: plan.tree),
      labelSmoothing: configuration.labelSmoothing, seed: configuration.seed, tracer: tracer)
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
    optimizer = Optimizer(
      rule ?? configuration.optimizer.rule, layout: graph.parameterLayout,
      multipliers: configuration.optimizer.multipliers)
    clipNorm = configuration.optimizer.clipNorm
    optimizerState = OptimizerStateShard(
      model, names: optimizer.rule.stateNames, mode: mode, shards: reducer.shards, communicator: communicator)
    integrity = IntegrityCheck(
      model, states: optimizerState, stateNames: optimizer.rule.stateNames, reducer: reducer, mode: mode, pool: pool,
      communicator: communicator)
    computeTimes = ComputeTimes(worldSize: communicator.worldSize)
    summary = StepSummary(reducer, communicator: communicator, wordCount: integrity.wordCount + 1)
    self.schedule = schedule ?? .constant(configuration.learningRate)
    integrity.recordAll()
  }

  /// The bytes of all memory that the step planned: optimizer states, also gathered ones, but not parameters and running
  /// statistics.
  public var byteCount: Int {
    executor.byteCount + reducer.byteCount + integrity.byteCount + computeTimes.byteCount + optimizerState.byteCount
      + optimizerState.gatheredByteCount
  }

  /// The logits of this rank's images of the last step, `[images, classes]`.
  package var logits: UnsafePointer<Float> { executor.logits }

  /// Collective: verifies that all ranks plan the same shards, and scatters the optimizer's states.
  ///
  /// Call it before the first step, and when the model has been replaced.
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
  /// If a number is not finite, all ranks agree on it. With ``NonfinitePolicy/skip`` they do so before the update and leave
  /// it out; otherwise the model must not be used any more.
  ///
  /// - Parameters:
  ///   - images: This rank's images of the step's batch, `NHWC`.
  ///   - labels: The class of each image.
  ///   - step: The number of the step, from 1.
  ///   - imageSize: Rows and columns of the images. If `nil`, those of the model's graph.
  ///   - stopRequested: Whether this rank has a stop request.
  /// - Returns: Loss, learning rate, gradient norm and stop request, equal on every rank; and this rank's times.
  /// - Throws: `CommunicationError` if a message fails; ``RanksDesynchronized`` on every rank if parameters, states or
  ///   running statistics have changed in memory since the last step.
  public func callAsFunction(
    _ images: UnsafePointer<Float>, labels: UnsafePointer<UInt8>, step: Int, imageSize: Int? = nil,
    stopRequested: Bool = false
  ) throws -> Result {
    let start = MonotonicClock.now()
    let activity = communicator.statistics.activity
    activity.enter(.forward)
    onPhase?(.forward)
    let waitedBefore = communicator.statistics.waitedNanoseconds
    var update = Update(step: step, learningRate: schedule(step))
    executor.select(imageSize: imageSize ?? model.graph.imageSize)
    // A layer's forward pass starts as soon as its parameters have arrived from the ranks that updated them.
    try executor.forward(images, labels: labels, batch: localBatch, statistics: .batch, step: step) { count in
      activity.enter(.forward, element: count - 1)
      return try traceLabels.recordWait(traceLabels.layerWait) { try reducer.waitForAllGather(ofFirst: count) }
    }
    try waitForParameters()
    try executor.startRunningStatistics(localBatch)

    activity.enter(.backward)
    onPhase?(.backward)
    reducer.beginBackward()
    try executor.backward(images, batch: localBatch, isDropping: true) { elements in
      // Complete buckets are sent to the owners of their shards; buckets that have been reduced meanwhile are applied.
      activity.enter(.backward, element: elements.lowerBound)
      try onGradient?(elements, gradients)
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
    summary.words[integrity.wordCount] = computeTimes.own.bitPattern
    try summary.start(stopRequested: stopRequested, isFinite: executor.isForwardFinite)
    var total: (squareSum: Double, stopRequested: Bool)?
    var isSkipped = false
    if defersUpdates {
      // No parameter can change before the norm of the whole gradient is known.
      let known = try traceLabels.recordWait(traceLabels.summaryWait) { try summary.finish() }
      update.gradientScale =
        clipNorm > 0 ? GradientClipping.scale(norm: known.squareSum.squareRoot(), maximumNorm: clipNorm) : 1
      total = known
      isSkipped = policy == .skip && !isFinite(known.squareSum)
      if mode == .sharded && !isSkipped { try applyToOwnedShards(update) }
    }
    if isSkipped {
      try discardUpdate(step: step)
    } else {
      if mode == .replicated { try applyToAll(update) }
      try executor.finishRunningStatistics(localBatch)
      integrity.recordStatistics()
    }
    let loss = try executor.finishLoss(localBatch)
    let (squareSum, stopRequested) =
      try total ?? traceLabels.recordWait(traceLabels.summaryWait) { try summary.finish() }
    let straggler = computeTimes.straggler { Double(bitPattern: summary.words(of: $0)[integrity.wordCount]) }
    do { try integrity.verify(step: step - 1) { summary.words(of: $0) } } catch {
      try waitForParameters()
      throw error
    }
    let waited = MonotonicClock.seconds(communicator.statistics.waitedNanoseconds &- waitedBefore)
    let seconds = MonotonicClock.seconds(since: start)
    computeTimes.own = seconds - waited
    return Result(
      loss: isSkipped ? .nan : Float(loss), learningRate: Float(update.learningRate),
      gradientNorm: isSkipped ? .nan : Float(squareSum.squareRoot()), stopRequested: stopRequested,
      communicationSeconds: waited, stepSeconds: seconds, isFinite: loss.isFinite && isFinite(squareSum),
      isSkipped: isSkipped, straggler: straggler)
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

  /// Collective: computes the checksums of one step again, for a benchmark.
  ///
  /// A step computes them while the blocks are in a cache and on all threads, so this takes at least as long.
  ///
  /// - Throws: ``RanksDesynchronized`` on every rank if anything has changed; `CommunicationError` if a message fails.
  package func repeatIntegrityCheck(step: Int) throws {
    integrity.recordAll()
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

  /// Collective: replaces the running statistics by the mean of those of some batches, with the present parameters.
  ///
  /// Every batch counts alike; nothing is dropped. Blocks until all ranks have contributed their statistics.
  ///
  /// - Parameters:
  ///   - batchCount: The number of batches.
  ///   - load: Returns this rank's images and labels of a batch, at the size of the model's graph.
  /// - Throws: `CommunicationError` if a message fails; the error of `load`.
  func estimateStatistics(
    batchCount: Int, load: (Int) throws -> (images: UnsafePointer<Float>, labels: UnsafePointer<UInt8>)
  ) throws {
    executor.select(imageSize: model.graph.imageSize)
    for number in 0..<batchCount {
      communicator.statistics.activity.progress()
      let (images, labels) = try load(number)
      try executor.forward(images, labels: labels, batch: localBatch, statistics: .batch)
      try executor.startRunningStatistics(localBatch)
      try executor.finishRunningStatistics(localBatch, momentum: Float(number) / Float(number + 1))
      _ = try executor.finishLoss(localBatch)
    }
  }

  /// Collective: copies the model as a checkpoint holds it to rank 0's copy, which has all optimizer states.
  ///
  /// Blocks rank 0 until all ranks have sent their states.
  ///
  /// - Parameter copy: Rank 0's copy; `nil` elsewhere.
  /// - Throws: `CommunicationError` if a message fails.
  func gatherState(into copy: ModelState?) throws {
    try waitForParameters()
    if let copy {
      for (target, store) in zip(copy.replicatedStores, model.replicatedStores) { target.copy(from: store) }
    }
    try optimizerState.gather(into: copy ?? model)
  }

  /// The scalars of an update.
  private struct Update {
    let step: Int
    let learningRate: Double
    var gradientScale: Float = 1
  }

  /// Reduces this rank's shard of a bucket, updates its parameters and starts their all-gather.
  ///
  /// With replicated optimizer state it all-gathers the gradient instead. If updates wait for the whole gradient, the update
  /// of a shard waits for ``applyToOwnedShards(_:)``.
  private func apply(_ update: Update, _ bucket: Int) throws {
    let items = WorkDivision(elements: reducer.ownedShard(bucket))
    let start = traceLabels.now()
    let isUpdating = mode == .sharded && !defersUpdates
    pool.parallelFor(items.count, with: (self, update, bucket, items, isUpdating), label: traceLabels.update) {
      context, item, _ in
      let (owner, update, bucket, items, isUpdating) = context.pointee
      let elements = items[item]
      owner.reducer.finishReduction(elements, of: bucket)
      owner.summary.addSquares(elements, of: owner.gradients.pointer)
      if isUpdating {
        owner.optimize(update, elements, bucket)
      } else if owner.mode == .sharded {
        // The checksums of this step are sent before the update.
        owner.integrity.verifyBeforeUpdate(elements, bucket)
      }
    }
    integrity.holdBeforeAllGather(bucket)
    traceLabels.record(traceLabels.update, since: start)
    if isUpdating || mode == .replicated { try reducer.allGather(bucket) }
  }

  /// Updates this rank's shards of all buckets and starts their all-gathers.
  private func applyToOwnedShards(_ update: Update) throws {
    for bucket in reducer.plan.buckets.indices {
      optimizeInParallel(update, reducer.ownedShard(bucket), bucket)
      try reducer.allGather(bucket)
    }
  }

  /// Updates all parameters, bucket by bucket as their gradients arrive.
  private func applyToAll(_ update: Update) throws {
    for (bucket, elements) in reducer.plan.buckets.enumerated() {
      try traceLabels.recordWait(traceLabels.bucketWait) { try reducer.waitForAllGather(bucket) }
      optimizeInParallel(update, elements, bucket)
    }
  }

  /// Whether updates wait until the whole gradient is known.
  private var defersUpdates: Bool { clipNorm > 0 || policy == .skip }

  /// Whether a step's numbers are finite; bitwise equal arguments give equal results on all ranks.
  private func isFinite(_ squareSum: Double) -> Bool { summary.isFinite && Float(squareSum.squareRoot()).isFinite }

  func operands(_ elements: Range<Int>, _ bucket: Int) -> UpdateOperands {
    UpdateOperands(
      elements, parameters: model.parameters, gradients: gradients, states: optimizerState.states,
      stateOffset: optimizerState.offset(of: elements.lowerBound, bucket: bucket))
  }

  private func optimizeInParallel(_ update: Update, _ elements: Range<Int>, _ bucket: Int) {
    let items = WorkDivision(elements: elements)
    let start = traceLabels.now()
    pool.parallelFor(items.count, with: (self, update, bucket, items), label: traceLabels.update) { context, item, _ in
      let (owner, update, bucket, items) = context.pointee
      owner.optimize(update, items[item], bucket)
    }
    traceLabels.record(traceLabels.update, since: start)
  }

  private func optimize(_ update: Update, _ elements: Range<Int>, _ bucket: Int) {
    if mode == .sharded { integrity.verifyBeforeUpdate(elements, bucket) }
    optimizer.update(
      operands(elements, bucket), step: update.step, learningRate: update.learningRate,
      gradientScale: update.gradientScale)
    integrity.recordUpdate(elements, bucket)
  }
}
