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
  private let desyncCheck: DesyncCheck
  private let fault: FaultInjection?
  private let tracer: Tracer?
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
  ///   - fault: A fault that a test injects.
  ///   - tracer: Records the run's spans. If `nil`, nothing is traced.
  /// - Throws: `MicrobatchPlan.InvalidPlan` or `WorldSizeError` if the batch cannot be divided.
  public init(
    _ configuration: TrainingConfiguration, model: ModelState, completedSteps: Int,
    dataset: ImageDataset, engine: any ConvolutionEngine, pool: WorkerPool, communicator: any Communicator,
    logger: RunLogger?, stop: StopRequest, fault: FaultInjection? = nil, tracer: Tracer? = nil
  ) throws {
    self.configuration = configuration
    self.model = model
    self.logger = logger
    self.stop = stop
    self.communicator = communicator
    desyncCheck = DesyncCheck(model, pool: pool, communicator: communicator)
    self.fault = fault
    self.tracer = tracer
    traceLabels = TrainerTraceLabels(tracer)
    firstStep = completedSteps + 1
    let plan = try configuration.microbatchPlan(communicator)
    trainingStep = TrainingStep(
      model, plan: plan, configuration: configuration, engine: engine, pool: pool,
      communicator: communicator, tracer: tracer)
    pool.trace(into: tracer)
    evaluation =
      configuration.evalEvery == 0
      ? nil
      : Evaluation(
        model, split: dataset.test, configuration: configuration, engine: engine, pool: pool,
        communicator: communicator)
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
    for number in firstStep..<max(configuration.steps + 1, firstStep) {
      let stopping = try step(number)
      let isLast = number == configuration.steps
      let isSaved = isLast || stopping || isMultiple(number, of: configuration.checkpointEvery)
      if isSaved || isMultiple(number, of: DesyncCheck.interval) {
        let start = tracer.now()
        try trainingStep.waitForParameters()
        try desyncCheck.verify(step: number)
        tracer.record(traceLabels.comparison, since: start)
      }
      if isSaved {
        let start = tracer.now()
        try trainingStep.withGatheredState { try logger?.saveCheckpoint($0, step: number) }
        tracer.record(traceLabels.checkpoint, since: start)
      }
      if isLast || isReportStep(number) {
        try trainingStep.waitForParameters()
        try logger?.reportTraining(step: number, model: model)
        if let evaluation {
          let start = tracer.now()
          let result = try evaluation(index: evaluationIndex(number))
          tracer.record(traceLabels.evaluation, since: start)
          try logger?.record(result, step: number)
        }
        logger?.startWindow()
      }
      if stopping && !isLast {
        throw TrainingStopped(step: number, outputDirectory: configuration.outputDirectory)
      }
    }
  }

  /// Collective: does one step: loads images, updates the model, writes the log line.
  ///
  /// Call it for consecutive steps. After the first few steps it allocates no memory, except what Open MPI allocates.
  ///
  /// - Returns: Whether any rank has a stop request.
  /// - Throws: What ``run()`` throws.
  package func step(_ number: Int) throws -> Bool {
    tracer?.step = number
    let start = MonotonicClock.now()
    let batch = try loader.next()
    let dataSeconds = MonotonicClock.seconds(since: start)
    tracer.record(traceLabels.dataWait, since: start)
    let computeStart = tracer.now()
    let result = try trainingStep(
      batch.images.pointer, labels: batch.labels.pointer, step: number, stopRequested: stop.isRequested)
    tracer.record(traceLabels.step, since: computeStart)
    if let fault {
      try trainingStep.waitForParameters()
      fault.apply(to: model, rank: communicator.rank, after: number)
    }
    guard result.loss.isFinite && result.gradientNorm.isFinite else {
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
