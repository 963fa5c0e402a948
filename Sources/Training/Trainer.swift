import Collectives
import DataParallel
import Datasets
import Models
import Support
import Tensors
import Tracing

/// The training loop: steps, reports, evaluations and checkpoints.
///
/// Every rank runs the same loop; rank 0 has a ``RunLogger`` and writes all files.
public final class Trainer {
  private let configuration: TrainingConfiguration
  private let model: ModelState
  private let loader: BatchLoader
  private let trainingStep: TrainingStep
  private let evaluation: Evaluation?
  private let logger: RunLogger?
  private let stop: StopRequest
  private let communicator: any Communicator
  private let fault: FaultInjection?
  private let tracer: Tracer?
  private let activity: RankActivity
  private let timeLimit: TimeLimit?
  private var checkpointSeconds: Double
  private var stepSeconds = 0.0
  private let traceLabels: TrainerTraceLabels
  private let firstStep: Int

  /// Allocates all memory of a run and starts loading its first batch; does not communicate.
  ///
  /// - Parameters:
  ///   - configuration: All settings.
  ///   - model: The state to start from.
  ///   - completedSteps: The steps already done.
  ///   - dataset: Training and test images.
  ///   - engine: The convolution engine.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  ///   - logger: Writes reports and checkpoints; `nil` on all ranks but 0.
  ///   - stop: The request to stop early.
  ///   - timeLimit: The end of the job, before which rank 0 requests a stop. If `nil`, there is none.
  ///   - fault: A fault that a test injects.
  ///   - tracer: Records the run's spans. If `nil`, nothing is traced.
  /// - Throws: `MicrobatchPlan.InvalidPlan` or `WorldSizeError` if the batch cannot be divided.
  public init(
    _ configuration: TrainingConfiguration, model: ModelState, completedSteps: Int,
    dataset: CIFAR10, engine: any ConvolutionEngine, pool: WorkerPool, communicator: any Communicator,
    logger: RunLogger?, stop: StopRequest, timeLimit: TimeLimit? = nil, fault: FaultInjection? = nil,
    tracer: Tracer? = nil
  ) throws {
    self.configuration = configuration
    self.model = model
    self.logger = logger
    self.stop = stop
    self.communicator = communicator
    activity = communicator.statistics.activity
    self.timeLimit = timeLimit
    checkpointSeconds = TimeLimit.expectedCheckpointSeconds(
      byteCount: 4 * (1 + configuration.optimizer.rule.stateNames.count) * model.graph.parameterCount)
    self.fault = fault
    self.tracer = tracer
    traceLabels = TrainerTraceLabels(tracer)
    firstStep = completedSteps + 1
    let plan = try configuration.microbatchPlan(communicator)
    trainingStep = TrainingStep(
      model, plan: plan, configuration: configuration, engine: engine, pool: pool,
      communicator: communicator, tracer: tracer)
    pool.trace(into: tracer)
    if let fault {
      let (rank, activity) = (communicator.rank, activity)
      trainingStep.onPhase = { fault.strike($0, rank: rank, step: activity.snapshot.step) }
    }
    evaluation =
      configuration.evalEvery == 0
      ? nil
      : Evaluation(
        model, split: dataset.test, configuration: configuration, engine: engine, pool: pool,
        communicator: communicator, stop: stop)
    let batchSize = configuration.batchSize
    // Trax takes one batch of its shuffled stream before the first step (trax/supervised/training.py).
    let skippedBatches = configuration.shuffle == .queue ? 1 : 0
    loader = try BatchLoader(
      split: dataset.training,
      sampler: Sampler(
        mode: configuration.shuffle, count: dataset.training.count, seed: configuration.seed),
      localRange: plan.localImages, firstStep: firstStep,
      firstPosition: { ($0 - 1 + skippedBatches) * batchSize })
  }

  /// The bytes of all memory that this rank planned for the run.
  public var plannedByteCount: Int {
    model.replicatedStores.reduce(0) { $0 + $1.bytes.count } + trainingStep.byteCount + loader.byteCount
      + (evaluation?.byteCount ?? 0)
  }

  /// Collective: trains to the last step.
  ///
  /// - Throws: On every rank ``TrainingStopped`` after a stop request, ``TrainingDiverged`` if the loss or the gradient
  ///   is not finite, ``RanksDesynchronized`` if ranks no longer hold the same numbers. On the rank where it occurs
  ///   `DatasetError`, ``CheckpointError`` or `CommunicationError`.
  public func run() throws {
    defer { stopLoading() }
    try trainingStep.prepare()
    let stopped = { TrainingStopped(step: $0, outputDirectory: self.configuration.outputDirectory) }
    if try !completeEvaluation(after: firstStep - 1) { throw stopped(firstStep - 1) }
    for number in firstStep..<max(configuration.steps + 1, firstStep) {
      let stopping = try step(number)
      let isLast = number == configuration.steps
      let isReported = isLast || isReportStep(number)
      let isSaved = isLast || stopping || isMultiple(number, of: configuration.checkpointEvery)
      if isReported {
        // Before the checkpoint: a run that resumes after this step does not report it again.
        try trainingStep.waitForParameters()
        try logger?.reportTraining(step: number, model: model)
      }
      if isSaved { try saveCheckpoint(after: number) }
      if isReported, let evaluation {
        // A stop request does not wait for an evaluation. The next start completes it.
        let isComplete = try !stopping && evaluate(evaluation, after: number)
        if !isComplete && !isSaved { try saveCheckpoint(after: number) }
        if !isComplete { throw stopped(number) }
      }
      if isReported { logger?.startWindow() }
      if stopping && !isLast { throw stopped(number) }
    }
  }

  /// Collective: evaluates after the last step done if a run that was killed or stopped there has not.
  ///
  /// - Returns: Whether nothing is missing; false after a stop request.
  private func completeEvaluation(after step: Int) throws -> Bool {
    guard let evaluation, step > 0, step == configuration.steps || isReportStep(step) else { return true }
    var isMissing: UInt8 = logger?.lacksEvaluation(of: step) == true ? 1 : 0
    try withUnsafeMutableBytes(of: &isMissing) { try communicator.broadcast($0, root: 0) }
    guard isMissing != 0 else { return true }
    defer { logger?.startWindow() }
    return try evaluate(evaluation, after: step)
  }

  /// Collective: evaluates and reports; returns false if a stop request interrupted it on any rank.
  private func evaluate(_ evaluation: Evaluation, after step: Int) throws -> Bool {
    let start = tracer.now()
    activity.enter(.evaluation)
    fault?.strike(.evaluation, rank: communicator.rank, step: step)
    defer { tracer.record(traceLabels.evaluation, since: start) }
    do {
      let result = try evaluation(index: evaluationIndex(step))
      try logger?.record(result, step: step)
      return true
    } catch is Evaluation.Interrupted {
      return false
    }
  }

  /// Collective: verifies that no rank's state has changed, and gathers it on rank 0, which writes a checkpoint.
  private func saveCheckpoint(after step: Int) throws {
    let comparisonStart = tracer.now()
    activity.enter(.comparison)
    try trainingStep.verifyIntegrity(step: step)
    tracer.record(traceLabels.comparison, since: comparisonStart)
    let start = tracer.now()
    let clockStart = MonotonicClock.now()
    activity.enter(.checkpoint)
    fault?.strike(.checkpoint, rank: communicator.rank, step: step)
    try trainingStep.withGatheredState {
      try logger?.saveCheckpoint($0, step: step) { self.activity.progress() }
    }
    tracer.record(traceLabels.checkpoint, since: start)
    checkpointSeconds = MonotonicClock.seconds(since: clockStart)
  }

  /// Collective: prepares the first step; ``run()`` does so itself.
  ///
  /// - Throws: What ``run()`` throws.
  package func prepare() throws { try trainingStep.prepare() }

  /// Collective: does one step: loads images, updates the model, writes the log line.
  ///
  /// Call it for consecutive steps. After the first few steps it allocates no memory, except what Open MPI allocates.
  ///
  /// - Returns: Whether any rank has a stop request.
  /// - Throws: What ``run()`` throws.
  package func step(_ number: Int) throws -> Bool {
    tracer?.step = number
    activity.enter(step: number)
    fault?.strike(.data, rank: communicator.rank, step: number)
    let start = MonotonicClock.now()
    let batch = try loader.next()
    let dataSeconds = MonotonicClock.seconds(since: start)
    tracer.record(traceLabels.dataWait, since: start)
    let computeStart = tracer.now()
    if let timeLimit, communicator.rank == 0,
      timeLimit.isNear(now: TimeLimit.now(), checkpointSeconds: checkpointSeconds, stepSeconds: stepSeconds)
    {
      stop.request()
    }
    let result = try trainingStep(
      batch.images.pointer, labels: batch.labels.pointer, step: number, stopRequested: stop.isRequested)
    tracer.record(traceLabels.step, since: computeStart)
    stepSeconds = result.stepSeconds + dataSeconds
    if let fault {
      try trainingStep.waitForParameters()
      fault.apply(to: model, trainingStep, rank: communicator.rank, after: number)
    }
    guard result.loss.isFinite && result.gradientNorm.isFinite else {
      // Every rank throws, and then frees the buffers that parameters in flight still target.
      try trainingStep.waitForParameters()
      throw TrainingDiverged(step: number)
    }
    try logger?.record(result, step: number, dataSeconds: dataSeconds)
    return result.stopRequested
  }

  /// Collective: calls a body with the model as a checkpoint holds it: rank 0's has all optimizer states.
  ///
  /// - Throws: `CommunicationError` if a message fails; the error of `body`.
  package func withGatheredState(_ body: (ModelState) throws -> Void) throws {
    try trainingStep.withGatheredState(body)
  }

  /// Stops the thread that loads batches ahead.
  package func stopLoading() { loader.stop() }

  /// Trax reports after the first step and then at regular intervals.
  private func isReportStep(_ step: Int) -> Bool {
    let interval = configuration.evalEvery > 0 ? configuration.evalEvery : 1000
    return step == 1 || step.isMultiple(of: interval)
  }

  /// The number of evaluations before the one at `step`.
  ///
  /// It depends on the step alone, so a resumed run continues in the test stream.
  private func evaluationIndex(_ step: Int) -> Int {
    let interval = configuration.evalEvery
    if step == 1 { return 0 }
    // Step 1 has an extra evaluation unless every step has one.
    let before = (step - 1) / interval
    return interval == 1 ? before : before + 1
  }

  private func isMultiple(_ step: Int, of interval: Int) -> Bool {
    interval > 0 && step.isMultiple(of: interval)
  }
}

/// The labels of the training loop's spans.
private struct TrainerTraceLabels {
  let step, dataWait, evaluation, checkpoint, comparison: TraceLabel

  init(_ tracer: Tracer?) {
    step = tracer.label("step", "step")
    dataWait = tracer.label("data wait", "wait")
    evaluation = tracer.label("evaluation", "evaluation")
    checkpoint = tracer.label("checkpoint", "checkpoint")
    comparison = tracer.label("compare parameters", "exchange")
  }
}
