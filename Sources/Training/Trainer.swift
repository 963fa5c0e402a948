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
  let configuration: TrainingConfiguration
  let model: ModelState
  private var loader: BatchLoader?
  private let makeLoader: (_ firstStep: Int) throws -> BatchLoader
  /// The numbers of the training images at positions of a step's batch.
  let sampleNumber: (_ step: Int, _ position: Int) -> Int
  let trainingStep: TrainingStep
  let evaluation: Evaluation?
  let validation: ImageDataset.Split?
  let estimation: StatisticsEstimation?
  let average: WeightAverage?
  let savedStatistics: ParameterStore?
  /// Rank 0's copy for checkpoints that are written in the background.
  let snapshot: CheckpointSnapshot?
  let logger: RunLogger?
  private let stop: StopRequest
  let communicator: any Communicator
  let fault: FaultInjection?
  let tracer: Tracer?
  let activity: RankActivity
  private let timeLimit: TimeLimit?
  /// The seconds of the last checkpoint until rank 0 had the state.
  var gatherSeconds = 0.0
  private let expectedWriteSeconds: Double
  private var stepSeconds = 0.0
  let traceLabels: TrainerTraceLabels
  private let firstStep: Int
  /// The steps without an update that this process knows of.
  var skippedSteps: Set<Int> = []
  /// How often the run has returned to the checkpoint of a step.
  var rollbacks = (step: 0, count: 0)

  /// Allocates all memory of a run and starts loading its first batch; does not communicate.
  ///
  /// - Parameters:
  ///   - configuration: All settings.
  ///   - model: The state to start from.
  ///   - completedSteps: The steps already done.
  ///   - dataset: Training and test images.
  ///   - normalization: The map from raw pixels to the network's input.
  ///   - engine: The convolution engine.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  ///   - logger: Writes reports and checkpoints; `nil` on all ranks but 0.
  ///   - stop: The request to stop early.
  ///   - timeLimit: The end of the job, before which rank 0 requests a stop. If `nil`, there is none.
  ///   - fault: A fault that a test injects.
  ///   - tracer: Records the run's spans. If `nil`, nothing is traced.
  /// - Throws: `MicrobatchPlan.InvalidPlan` or `WorldSizeError` if the batch cannot be divided, `InvalidModel` if there is
  ///   no such network, `InvalidSchedule` if the learning rate does not fit the length of the run.
  public init(
    _ configuration: TrainingConfiguration, model: ModelState, completedSteps: Int,
    dataset: ImageDataset, normalization: PixelNormalization = .none, engine: any ConvolutionEngine, pool: WorkerPool,
    communicator: any Communicator,
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
    expectedWriteSeconds = TimeLimit.expectedCheckpointSeconds(
      byteCount: 4 * (1 + configuration.optimizer.rule.stateNames.count) * model.graph.parameterCount)
    self.fault = fault
    self.tracer = tracer
    traceLabels = TrainerTraceLabels(tracer)
    firstStep = completedSteps + 1
    let plan = try configuration.microbatchPlan(communicator)
    let (training, heldOut) = dataset.training.holdingOut(configuration.validation)
    validation = configuration.validation > 0 ? heldOut : nil
    let pipeline = ImagePipeline(
      normalization: normalization, augmentation: configuration.augmentation,
      resolutionMode: configuration.resolutionMode, seed: configuration.seed)
    trainingStep = TrainingStep(
      model, otherSizes: try configuration.otherSizes(), plan: plan, configuration: configuration,
      schedule: try configuration.learningRateSchedule(trainingCount: training.count), engine: engine, pool: pool,
      communicator: communicator, tracer: tracer)
    pool.trace(into: tracer)
    if let fault {
      let (rank, activity) = (communicator.rank, activity)
      trainingStep.onPhase = { fault.strike($0, rank: rank, step: activity.snapshot.step) }
      trainingStep.onGradient = { fault.poison($1, elements: $0, rank: rank, step: activity.snapshot.step) }
    }
    evaluation =
      configuration.evalEvery == 0
      ? nil
      : Evaluation(
        model, split: dataset.test, pipeline: pipeline, configuration: configuration, engine: engine, pool: pool,
        communicator: communicator, stop: stop)
    if let logger, let evaluation {
      evaluation.onProgress = { [weak logger] in logger?.showActivity("evaluation", $0, of: $1) }
    }
    @Sendable func sampler() -> Sampler {
      Sampler(mode: configuration.shuffle, count: training.count, seed: configuration.seed)
    }
    estimation =
      configuration.estimatesStatistics
      ? StatisticsEstimation(split: training, pipeline: pipeline, sampler: sampler(), plan: plan) : nil
    savedStatistics = configuration.estimatesStatistics ? ParameterStore(model.graph.statisticsLayout) : nil
    average =
      configuration.optimizer.averageDecay > 0
      ? WeightAverage(model, interval: configuration.optimizer.averageEvery, communicator: communicator) : nil
    snapshot =
      configuration.checkpointMode == .async && communicator.rank == 0
      ? CheckpointSnapshot(
        model.graph, stateNames: trainingStep.stateNames, hasAverage: configuration.optimizer.averageDecay > 0) : nil
    let mapping = configuration.epochMapping(trainingCount: training.count)
    let (resolution, steps) = (configuration.resolution, configuration.steps)
    makeLoader = { firstStep in
      try BatchLoader(
        split: training, sampler: sampler(), pipeline: pipeline, localRange: plan.localImages, firstStep: firstStep,
        maximumImageSize: resolution.sizes[0], imageSize: { resolution.size(step: $0, of: steps) },
        firstPosition: { mapping.firstPosition(step: $0) })
    }
    sampleNumber = { step, position in
      let first = mapping.firstPosition(step: step) + position
      return withUnsafeTemporaryAllocation(of: Int.self, capacity: 1) { index in
        index[0] = 0
        sampler().indices(at: first..<first + 1, into: index)
        return index[0]
      }
    }
    loader = try makeLoader(firstStep)
  }

  /// The bytes of all memory that this rank planned for the run.
  public var plannedByteCount: Int {
    model.replicatedStores.reduce(0) { $0 + $1.bytes.count } + trainingStep.byteCount + (loader?.byteCount ?? 0)
      + (evaluation?.byteCount ?? 0) + (estimation?.byteCount ?? 0) + (average?.byteCount ?? 0)
      + (savedStatistics?.bytes.count ?? 0) + (snapshot?.byteCount ?? 0)
  }

  /// Collective: trains to the last step.
  ///
  /// Returns, or throws, when no checkpoint is being written any more.
  ///
  /// - Throws: On every rank ``TrainingStopped`` after a stop request, ``TrainingDiverged`` if the loss or the gradient
  ///   is not finite and the run cannot continue, ``RanksDesynchronized`` if ranks no longer hold the same numbers. On the rank
  ///   where it occurs `DatasetError`, ``CheckpointError`` or `CommunicationError`.
  public func run() throws {
    defer {
      stopLoading()
      finishCheckpoint()
    }
    try trainingStep.prepare()
    if try !completeEvaluation(after: firstStep - 1) { throw stopped(after: firstStep - 1) }
    var number = firstStep
    while number <= configuration.steps {
      do {
        try advance(number)
        number += 1
      } catch let error as TrainingDiverged where configuration.onNonfinite == .rollback {
        number = try rollBack(error) + 1
        try restartLoading(firstStep: number)
      }
    }
    finishCheckpoint()
    try logger?.requireSaved(step: configuration.steps)
    try logger?.finishLogs()
  }

  /// Collective: does a step, and what is due after it.
  private func advance(_ number: Int) throws {
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
    if isReported, evaluation != nil {
      // A stop request does not wait for an evaluation. The next start completes it.
      let isComplete = try !stopping && evaluate(after: number, isSaved: isSaved)
      if !isComplete && !isSaved { try saveCheckpoint(after: number) }
      if !isComplete { try stop(after: number) }
    }
    if isReported { logger?.startWindow() }
    if stopping && !isLast { try stop(after: number) }
  }

  /// Ends the run after a stop request, when the checkpoint has been written.
  ///
  /// - Throws: ``TrainingStopped``; on rank 0 ``CheckpointError`` if the checkpoint could not be written.
  private func stop(after step: Int) throws {
    finishCheckpoint()
    try logger?.requireSaved(step: step)
    throw stopped(after: step)
  }

  private func stopped(after step: Int) -> TrainingStopped {
    TrainingStopped(step: step, outputDirectory: configuration.outputDirectory)
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
    guard let batch = try loader?.next() else { preconditionFailure("the loader has been stopped") }
    let dataSeconds = MonotonicClock.seconds(since: start)
    tracer.record(traceLabels.dataWait, since: start)
    let computeStart = tracer.now()
    if let timeLimit, communicator.rank == 0,
      timeLimit.isNear(
        now: TimeLimit.now(), checkpointSeconds: gatherSeconds + (logger?.checkpointSeconds ?? expectedWriteSeconds),
        stepSeconds: stepSeconds)
    {
      stop.request()
    }
    fault?.poison(batch, rank: communicator.rank, step: number)
    if skippedSteps.contains(number) {
      // The run has returned to a checkpoint because of this step.
      // Before the optional logger, which most ranks lack.
      let result = trainingStep.skip(step: number)
      try logger?.record(result, step: number, dataSeconds: dataSeconds)
      return false
    }
    let result = try trainingStep(
      batch.images.pointer, labels: batch.labels.pointer, step: number, imageSize: batch.imageSize,
      stopRequested: stop.isRequested)
    tracer.record(traceLabels.step, since: computeStart)
    stepSeconds = result.stepSeconds + dataSeconds
    if let fault {
      try trainingStep.waitForParameters()
      fault.apply(to: model, trainingStep, rank: communicator.rank, after: number)
    }
    if !result.isFinite { try handleNonfinite(step: number, batch, isSkipped: result.isSkipped) }
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
  package func stopLoading() { loader?.stop() }

  /// Loads other batches from now on; the memory of the old ones is freed first.
  private func restartLoading(firstStep: Int) throws {
    loader?.stop()
    loader = nil
    loader = try makeLoader(firstStep)
  }

  /// Trax reports after the first step and then at regular intervals.
  func isReportStep(_ step: Int) -> Bool {
    let interval = configuration.evalEvery > 0 ? configuration.evalEvery : 1000
    return step == 1 || step.isMultiple(of: interval)
  }

  private func isMultiple(_ step: Int, of interval: Int) -> Bool {
    interval > 0 && step.isMultiple(of: interval)
  }
}

/// The labels of the training loop's spans.
struct TrainerTraceLabels {
  let step, dataWait, evaluation, checkpoint, comparison: TraceLabel

  init(_ tracer: Tracer?) {
    step = tracer.label("step", "step")
    dataWait = tracer.label("data wait", "wait")
    evaluation = tracer.label("evaluation", "evaluation")
    checkpoint = tracer.label("checkpoint", "checkpoint")
    comparison = tracer.label("compare parameters", "exchange")
  }
}
