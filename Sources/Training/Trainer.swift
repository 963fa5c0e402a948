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
  private let validation: ImageDataset.Split?
  private let estimation: StatisticsEstimation?
  private let average: WeightAverage?
  private let savedStatistics: ParameterStore?
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
    checkpointSeconds = TimeLimit.expectedCheckpointSeconds(
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
    func sampler() -> Sampler {
      Sampler(mode: configuration.shuffle, count: training.count, seed: configuration.seed)
    }
    estimation =
      configuration.estimatesStatistics
      ? StatisticsEstimation(split: training, pipeline: pipeline, sampler: sampler(), plan: plan) : nil
    savedStatistics = configuration.estimatesStatistics ? ParameterStore(model.graph.statisticsLayout) : nil
    average =
      configuration.optimizer.averageDecay > 0
      ? WeightAverage(model, interval: configuration.optimizer.averageEvery, communicator: communicator) : nil
    let mapping = configuration.epochMapping(trainingCount: training.count)
    let (resolution, steps) = (configuration.resolution, configuration.steps)
    loader = try BatchLoader(
      split: training, sampler: sampler(), pipeline: pipeline, localRange: plan.localImages, firstStep: firstStep,
      maximumImageSize: resolution.sizes[0], imageSize: { resolution.size(step: $0, of: steps) },
      firstPosition: { mapping.firstPosition(step: $0) })
  }

  /// The bytes of all memory that this rank planned for the run.
  public var plannedByteCount: Int {
    model.replicatedStores.reduce(0) { $0 + $1.bytes.count } + trainingStep.byteCount + loader.byteCount
      + (evaluation?.byteCount ?? 0) + (estimation?.byteCount ?? 0) + (average?.byteCount ?? 0)
      + (savedStatistics?.bytes.count ?? 0)
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
      if isReported, evaluation != nil {
        // A stop request does not wait for an evaluation. The next start completes it.
        let isComplete = try !stopping && evaluate(after: number, isSaved: isSaved)
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
    guard evaluation != nil, step > 0, step == configuration.steps || isReportStep(step) else { return true }
    var isMissing: UInt8 = logger?.lacksEvaluation(of: step) == true ? 1 : 0
    try withUnsafeMutableBytes(of: &isMissing) { try communicator.broadcast($0, root: 0) }
    guard isMissing != 0 else { return true }
    defer { logger?.startWindow() }
    return try evaluate(after: step, isSaved: true)
  }

  /// Collective: evaluates and reports; returns false if a stop request interrupted it on any rank.
  private func evaluate(after step: Int, isSaved: Bool) throws -> Bool {
    let start = tracer.now()
    activity.enter(.evaluation)
    fault?.strike(.evaluation, rank: communicator.rank, step: step)
    defer { tracer.record(traceLabels.evaluation, since: start) }
    let accuracy: Double?
    do { accuracy = try evaluateAll(step) } catch is Evaluation.Interrupted { return false }
    if configuration.keepsBest, let accuracy { try keepIfBest(step, accuracy, isSaved: isSaved) }
    return true
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
    let hasAverage = try refreshAverage(step)
    try trainingStep.withGatheredState {
      try logger?.saveCheckpoint($0, average: hasAverage ? average?.averaged : nil, step: step) {
        self.activity.progress()
      }
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
      batch.images.pointer, labels: batch.labels.pointer, step: number, imageSize: batch.imageSize,
      stopRequested: stop.isRequested)
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

  /// Collective: evaluates the weights after a step, and their average if there is one.
  ///
  /// With held-out images the test set is kept for the last step: nothing can be chosen by it.
  ///
  /// - Returns: The accuracy on the held-out images of the weights that are evaluated last; `nil` if none are held out.
  private func evaluateAll(_ number: Int) throws -> Double? {
    guard let evaluation else { return nil }
    let hasAverage = try refreshAverage(number)
    var validationAccuracy: Double?
    func evaluate(_ weights: EvaluatedWeights) throws {
      if let validation {
        let result = try evaluation(of: validation, index: 0)
        validationAccuracy = result.mirroredAccuracy ?? result.accuracy
        try logger?.record(result, EvaluationLabel(images: .validation, weights: weights), step: number)
      }
      if validation == nil || number == configuration.steps {
        let index = evaluationIndex(number)
        // A few hundred KiB, allocated when the steps are done: a report shows the predictions of the last evaluation.
        let logits = number == configuration.steps ? evaluation.makeLogits() : nil
        let result = try evaluation(index: index, logits: logits?.pointer)
        try logger?.record(result, EvaluationLabel(images: .test, weights: weights), step: number)
        if let logger, let logits {
          try logger.record(
            evaluation.predictions(logits: logits, index: index, step: number, weights: weights))
        }
      }
    }
    try withFittingStatistics(number) { try evaluate(.raw) }
    if hasAverage, let average { try average.inPlaceOfModel { try evaluate(.average) } }
    return validationAccuracy
  }

  /// Collective: keeps the checkpoint of a step if its accuracy is the best so far.
  ///
  /// All ranks have the same accuracy; rank 0 knows the best one so far and compares.
  private func keepIfBest(_ step: Int, _ accuracy: Double, isSaved: Bool) throws {
    var isBest: UInt8 = logger?.isBest(accuracy) == true ? 1 : 0
    try withUnsafeMutableBytes(of: &isBest) { try communicator.broadcast($0, root: 0) }
    guard isBest != 0 else { return }
    if !isSaved { try saveCheckpoint(after: step) }
    try logger?.markBest(step: step, accuracy: accuracy)
  }

  /// Collective: gathers the average of the weights; returns whether there is one.
  private func refreshAverage(_ number: Int) throws -> Bool {
    guard let average, let estimation else { return false }
    return try average.refresh(after: number, trainingStep, estimation)
  }

  /// Collective: calls a body with running statistics that fit images of full size, and restores them afterwards.
  ///
  /// With momentum 0.9 the statistics of another size are forgotten after 100 steps: 0.9¹⁰⁰ = 3e-5.
  private func withFittingStatistics(_ number: Int, _ body: () throws -> Void) throws {
    guard configuration.evalStatistics == .running, let estimation, let savedStatistics,
      configuration.resolution.hasChanged(within: 100, before: number, of: configuration.steps)
    else { return try body() }
    savedStatistics.copy(from: model.runningStatistics)
    defer { model.runningStatistics.copy(from: savedStatistics) }
    try estimation(trainingStep)
    try body()
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
