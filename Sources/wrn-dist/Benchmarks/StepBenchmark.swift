import Collectives
import DataParallel
import Models
import Tensors
import Training

/// Training steps, and passes forward alone, on made-up images.
struct StepBenchmark {
  /// What was measured, in seconds.
  struct Times {
    let threads: Int
    let network: ModelGraph
    /// From the start of the process to the end of the first step.
    let first: Double
    /// Every timed step, the fastest first.
    let steps: [Double]
    /// Of every timed step, the part in which this rank waited for messages, the shortest first.
    let waits: [Double]
    /// The bytes of a step that leave this rank.
    let sentByteCount: Int
    /// The bytes of a step that leave this rank's host, from all of its ranks.
    let sentToOtherHostsByteCount: Int
    /// Every timed pass forward alone, the fastest first.
    let evaluations: [Double]
    let plannedByteCount: Int
    let keptByteCount: Int
    /// Before the passes of the evaluation were allocated.
    let peakByteCount: Int

    /// The median of sorted times.
    static func median(_ sorted: [Double]) -> Double { sorted[sorted.count / 2] }
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

  /// Allocates everything that the steps need and draws images.
  ///
  /// - Throws: `InvalidModel` if there is no such network.
  init(
    _ configuration: TrainingConfiguration, _ plan: MicrobatchPlan, engine: any ConvolutionEngine,
    threadCount: Int, _ communicator: any Communicator
  ) throws {
    self.configuration = configuration
    self.plan = plan
    self.engine = engine
    self.communicator = communicator
    let network = try configuration.modelGraph()
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

  /// Times `steps` steps after three that are not timed, then as many passes forward.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: `CommunicationError` if an exchange fails.
  func run(steps: Int) throws -> Times {
    var times: [Double] = []
    var waits: [Double] = []
    var first = 0.0
    var sentBefore = (0, 0)
    try step.begin()
    for number in 1...steps + Self.warmUpCount {
      try communicator.barrier()
      if number == Self.warmUpCount + 1 { sentBefore = sentByteCounts }
      let began = ContinuousClock.now
      let result = try step(images.pointer, labels: labels.pointer, step: number)
      let ended = ContinuousClock.now
      if number == 1 { first = HostInfo.secondsSinceStart }
      if number > Self.warmUpCount {
        times.append((ended - began).seconds)
        waits.append(result.communicationSeconds)
      }
    }
    try step.finish()
    let sent = (sentByteCounts.0 - sentBefore.0, sentByteCounts.1 - sentBefore.1)
    let peak = HostInfo.peakMemory
    return Times(
      threads: pool.workerCount, network: model.network, first: first, steps: times.sorted(),
      waits: waits.sorted(), sentByteCount: sent.0 / steps,
      sentToOtherHostsByteCount: try sumOverHost(sent.1) / steps,
      evaluations: try timeEvaluation(count: steps).sorted(), plannedByteCount: step.byteCount,
      keptByteCount: model.network.savedActivationByteCount(imageCount: plan.localBatchSize),
      peakByteCount: peak)
  }

  private var sentByteCounts: (Int, Int) {
    (communicator.statistics.sentByteCount, communicator.statistics.sentToOtherHostsByteCount)
  }

  /// Adds up what the ranks of this rank's host count.
  private func sumOverHost(_ count: Int) throws -> Int {
    let counts = try communicator.allGather(String(count)).map { Int($0) ?? 0 }
    let hosts = communicator.hosts
    return hosts.indices.reduce(0) { $0 + (hosts[$1] == hosts[communicator.rank] ? counts[$1] : 0) }
  }

  /// Times passes forward over this rank's images, which make one batch of their own, as in an evaluation.
  private func timeEvaluation(count: Int) throws -> [Double] {
    let microbatches = 0..<plan.localMicrobatches.count
    let tree = ReductionTree(leafCount: microbatches.count)
    let pass = ModelExecutor(
      model.network, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: microbatches, tree: tree, scope: configuration.batchNorm, purpose: .inference)
    let batch = LocalBatch(
      model.network, globalImageCount: plan.localBatchSize,
      imagesPerMicrobatch: plan.imagesPerMicrobatch, localRange: microbatches, tree: tree,
      communicator: SingleProcessCommunicator())
    var times: [Double] = []
    for number in 0...count {
      try communicator.barrier()
      let began = ContinuousClock.now
      try pass.forward(images.pointer, labels: labels.pointer, batch: batch, statistics: .batch)
      _ = try pass.finishLoss(batch)
      if number > 0 { times.append((ContinuousClock.now - began).seconds) }
    }
    return times
  }
}
