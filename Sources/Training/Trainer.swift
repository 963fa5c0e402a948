import Collectives
import DataParallel
import Datasets
import Models
import Tensors
import Tracing

/// Which step does what: the loop over steps, with reports, evaluations and checkpoints.
///
/// Every rank runs the same loop; rank 0 has a ``RunLogger`` and writes what there is to write.
public final class Trainer {
  private let configuration: TrainingConfiguration
  private let model: ModelState
  private let loader: BatchLoader
  private let trainingStep: TrainingStep
  private let evaluation: Evaluation?
  private let recorder: RunLogger?
  private let stop: StopRequest
  private let communicator: any Communicator
  private let desync: DesyncCheck
  private let fault: FaultInjection?
  private let tracer: Tracer?
  private let spans: TrainerTraceLabels
  private let firstStep: Int

  /// Plans all memory of a run and starts loading its first batch.
  ///
  /// - Parameters:
  ///   - configuration: What to compute.
  ///   - model: The state to start from.
  ///   - completedSteps: The steps already done.
  ///   - dataset: Training and test images.
  ///   - engine: What computes convolutions.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  ///   - recorder: Writes reports; on rank 0 alone.
  ///   - stop: A request to stop early.
  ///   - fault: Damage that a test asks for.
  ///   - tracer: Records what takes how long.
  /// - Throws: `MicrobatchPlan.InvalidPlan` or `WorldSizeError` if the batch cannot be divided.
  public init(
    _ configuration: TrainingConfiguration, model: ModelState, completedSteps: Int,
    dataset: CIFAR10, engine: any ConvolutionEngine, pool: WorkerPool, communicator: any Communicator,
    recorder: RunLogger?, stop: StopRequest, fault: FaultInjection? = nil, tracer: Tracer? = nil
  ) throws {
    self.configuration = configuration
    self.model = model
    self.recorder = recorder
    self.stop = stop
    self.communicator = communicator
    desync = DesyncCheck(model, pool: pool, communicator: communicator)
    self.fault = fault
    self.tracer = tracer
    spans = TrainerTraceLabels(tracer)
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
    // Trax takes one batch of its shuffled stream for itself before the first step (model-spec trap 13).
    let skippedBatches = configuration.shuffle == .queue ? 1 : 0
    loader = BatchLoader(
      split: dataset.training,
      sampler: Sampler(
        mode: configuration.shuffle, count: dataset.training.count, seed: configuration.seed),
      localRange: plan.localImages, firstStep: firstStep,
      firstPosition: { ($0 - 1 + skippedBatches) * batchSize })
  }

  /// The bytes of all memory that this rank planned for the run.
  public var plannedByteCount: Int {
    model.weights.reduce(0) { $0 + $1.bytes.count } + trainingStep.byteCount + loader.byteCount
      + (evaluation?.byteCount ?? 0)
  }

  /// Trains to the last step.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: ``TrainingStopped`` after a request to stop, ``TrainingDiverged`` if the loss is no longer a number,
  ///   ``RanksDesynchronized`` if ranks no longer hold the same numbers (all three on every rank), `DatasetError`, `CheckpointError` or `CommunicationError` on the rank that meets one.
  public func run() throws {
    defer { finish() }
    try trainingStep.begin()
    for number in firstStep..<max(configuration.steps + 1, firstStep) {
      let stopping = try step(number)
      let isLast = number == configuration.steps
      let isSaved = isLast || stopping || isMultiple(number, of: configuration.checkpointEvery)
      if isSaved || isMultiple(number, of: DesyncCheck.interval) {
        let start = tracer.now()
        try trainingStep.finish()
        try desync.requireEqual(step: number)
        tracer.record(spans.comparison, since: start)
      }
      if isSaved {
        let start = tracer.now()
        try trainingStep.withGatheredState { try recorder?.saveCheckpoint($0, step: number) }
        tracer.record(spans.checkpoint, since: start)
      }
      if isLast || isReportStep(number) {
        try trainingStep.finish()
        try recorder?.reportTraining(step: number, model: model)
        if let evaluation {
          let start = tracer.now()
          let found = try evaluation(index: evaluationIndex(number))
          tracer.record(spans.evaluation, since: start)
          try recorder?.record(found, step: number)
        }
        recorder?.startWindow()
      }
      if stopping && !isLast {
        throw TrainingStopped(step: number, outputDirectory: configuration.outputDirectory)
      }
    }
  }

  /// Does one step: images, update, log.
  ///
  /// Every rank calls it, for one step after the other.
  ///
  /// After the first few steps it allocates no memory, apart from what Open MPI allocates for itself.
  ///
  /// - Returns: Whether some rank was asked to stop.
  /// - Throws: What ``run()`` throws.
  package func step(_ number: Int) throws -> Bool {
    tracer?.step = number
    let start = monotonicNanoseconds()
    let batch = try loader.next()
    let dataSeconds = Double(monotonicNanoseconds() &- start) * 1e-9
    tracer.record(spans.dataWait, since: start)
    let computeStart = tracer.now()
    let result = try trainingStep(
      batch.images.pointer, labels: batch.labels.pointer, step: number, stopRequested: stop.isMade)
    tracer.record(spans.step, since: computeStart)
    if let fault {
      try trainingStep.finish()
      fault.strike(model, rank: communicator.rank, after: number)
    }
    guard result.loss.isFinite && result.gradientNorm.isFinite else {
      throw TrainingDiverged(step: number)
    }
    try recorder?.record(result, step: number, dataSeconds: dataSeconds)
    return result.stopRequested
  }

  /// Calls a body with the model as a checkpoint holds it.
  ///
  /// Every rank calls it; on rank 0 all moments are there.
  ///
  /// - Throws: `CommunicationError` if an exchange fails, and what `body` throws.
  package func withGatheredState(_ body: (ModelState) throws -> Void) throws {
    try trainingStep.withGatheredState(body)
  }

  /// Stops reading ahead.
  package func finish() { loader.stop() }

  /// Trax reports after the first step and then at regular intervals.
  private func isReportStep(_ step: Int) -> Bool {
    let interval = configuration.evalEvery > 0 ? configuration.evalEvery : 1000
    return step == 1 || step.isMultiple(of: interval)
  }

  /// The number of evaluations before the one at `step`, a pure function, so that a resumed run goes on in the stream.
  private func evaluationIndex(_ step: Int) -> Int {
    let interval = configuration.evalEvery
    if step == 1 { return 0 }
    // Step 1 has one of its own unless every step has.
    let before = (step - 1) / interval
    return interval == 1 ? before : before + 1
  }

  private func isMultiple(_ step: Int, of interval: Int) -> Bool {
    interval > 0 && step.isMultiple(of: interval)
  }
}

/// What the loop over steps is made of, in a trace.
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

extension TrainingConfiguration.Engine {
  /// Makes the engine: for ``native`` with the widest instruction set that this CPU has, or what `WRN_ISA` asks for.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Returns: The engine; ``blas`` where the CPU has none of the instruction sets that native kernels are built for.
  /// - Throws: `InstructionSet.Unavailable` if this CPU lacks what `WRN_ISA` asks for.
  public func make(environment: [String: String]) throws -> any ConvolutionEngine {
    let instructionSet = try InstructionSet.select(requested: environment["WRN_ISA"])
    guard self == .native, let instructionSet else { return BLASConvolutionEngine() }
    return NativeConvolutionEngine(instructionSet)
  }
}
