import Collectives
import DataParallel
import Models
import Support
import Tensors
import Training

/// Timings of training steps, and of forward passes, on synthetic images.
struct StepBenchmark {
  /// The measurements, in seconds.
  struct Times {
    let threads: Int
    let model: ModelGraph
    /// The time from the start of the process to the end of the first step.
    let first: Double
    /// Every timed step, in ascending order.
    let steps: [Double]
    /// This rank's wait for messages in every timed step, in ascending order.
    let waits: [Double]
    /// The time of a step's integrity check at most, repeated outside the steps, in ascending order.
    let integrityChecks: [Double]
    /// The bytes per step that this rank sends.
    let sentByteCount: Int
    /// The bytes per step that all ranks of this host send to other hosts.
    let sentToOtherHostsByteCount: Int
    /// Every timed forward pass, in ascending order.
    let evaluations: [Double]
    let plannedByteCount: Int
    let activationByteCount: Int
    /// The peak memory before the forward passes were allocated.
    let peakByteCount: Int
  }

  private static let warmUpCount = 3

  private let step: TrainingStep
  private let model: ModelState
  private let images: Tensor
  private let labels: AlignedBuffer<UInt8>
  private let configuration: TrainingConfiguration
  private let plan: MicrobatchPlan
  private let engine: any ConvolutionEngine
  private let pool: WorkerPool
  private let communicator: any Communicator

  /// Allocates all memory of the steps and generates images.
  ///
  /// - Throws: `InvalidModel` if there is no such model.
  init(
    _ configuration: TrainingConfiguration, _ plan: MicrobatchPlan, imageSize: Int, engine: any ConvolutionEngine,
    threadCount: Int, _ communicator: any Communicator
  ) throws {
    self.configuration = configuration
    self.plan = plan
    self.engine = engine
    self.communicator = communicator
    let network = try configuration.modelConfiguration().graph(imageSize: imageSize)
    model = ModelState(network)
    network.initialize(model.parameters, model.runningStatistics, seed: 0)
    pool = try WorkerPool(workerCount: threadCount, progressing: communicator)
    step = TrainingStep(
      model, plan: plan, configuration: configuration, engine: engine, pool: pool,
      communicator: communicator)
    images = Tensor(
      Shape(
        plan.localBatchSize, network.imageSize, network.imageSize, network.imageChannels))
    labels = AlignedBuffer(count: plan.localBatchSize)
    let stream = RandomStream(seed: 0, purpose: "benchmark images")
    for i in images.elements.indices {
      images.elements[i] = Float(stream.integer(UInt64(i), below: 256))
    }
    for i in labels.elements.indices { labels.pointer[i] = UInt8(i % network.classCount) }
  }

  /// Times `steps` steps after three for warm-up, then as many forward passes.
  ///
  /// Collective. Every step and forward pass starts after a barrier.
  ///
  /// - Throws: `CommunicationError` if communication fails.
  func run(steps: Int) throws -> Times {
    var times: [Double] = []
    var waits: [Double] = []
    var first = 0.0
    var sentBefore = (0, 0)
    try step.prepare()
    for number in 1...steps + Self.warmUpCount {
      try communicator.barrier()
      if number == Self.warmUpCount + 1 { sentBefore = sentByteCounts }
      let start = ContinuousClock.now
      let result = try step(images.pointer, labels: labels.pointer, step: number)
      let end = ContinuousClock.now
      if number == 1 { first = HostInfo.secondsSinceStart }
      if number > Self.warmUpCount {
        times.append((end - start).seconds)
        waits.append(result.communicationSeconds)
      }
    }
    try step.waitForParameters()
    let checks = try (0..<steps).map { _ in
      try communicator.barrier()
      let start = ContinuousClock.now
      try step.repeatIntegrityCheck(step: steps + Self.warmUpCount)
      return (ContinuousClock.now - start).seconds
    }
    let sent = (sentByteCounts.0 - sentBefore.0, sentByteCounts.1 - sentBefore.1)
    let peak = HostInfo.peakMemory
    return Times(
      threads: pool.workerCount, model: model.graph, first: first, steps: times.sorted(),
      waits: waits.sorted(), integrityChecks: checks.sorted(), sentByteCount: sent.0 / steps,
      sentToOtherHostsByteCount: try sumOverHost(sent.1) / steps,
      evaluations: try timeEvaluation(count: steps).sorted(), plannedByteCount: step.byteCount,
      activationByteCount: model.graph.savedActivationByteCount(imageCount: plan.localBatchSize),
      peakByteCount: peak)
  }

  private var sentByteCounts: (Int, Int) {
    (communicator.statistics.sentByteCount, communicator.statistics.sentToOtherHostsByteCount)
  }

  /// Returns the sum over the ranks of this rank's host.
  ///
  /// Collective. Gathers all ranks' counts.
  private func sumOverHost(_ count: Int) throws -> Int {
    let counts = try communicator.allGather(count)
    let hosts = communicator.hostOfRank
    return hosts.indices.reduce(0) { $0 + (hosts[$1] == hosts[communicator.rank] ? counts[$1] : 0) }
  }

  /// Times forward passes over this rank's images as one batch, as in an evaluation.
  private func timeEvaluation(count: Int) throws -> [Double] {
    let microbatches = 0..<plan.localMicrobatches.count
    let tree = ReductionTree(leafCount: microbatches.count)
    let pass = ModelExecutor(
      model.graph, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: microbatches, tree: tree, scope: configuration.batchNorm, purpose: .inference)
    let batch = LocalBatch(
      model.graph, globalImageCount: plan.localBatchSize,
      imagesPerMicrobatch: plan.imagesPerMicrobatch, localRange: microbatches, tree: tree,
      communicator: SingleProcessCommunicator())
    var times: [Double] = []
    for number in 0...count {
      try communicator.barrier()
      let start = ContinuousClock.now
      try pass.forward(images.pointer, labels: labels.pointer, batch: batch, statistics: .batch)
      _ = try pass.finishLoss(batch)
      if number > 0 { times.append((ContinuousClock.now - start).seconds) }
    }
    return times
  }
}
