import ArgumentParser
import Collectives
import DataParallel
import Foundation
import Networks
import OpenMPI
import Tensors
import Training

/// Measurements of this machine.
struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark", abstract: "Measures this machine.",
    subcommands: [BenchmarkStepCommand.self])
}

/// Times the training step on made-up images.
struct BenchmarkStepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step",
    abstract: "Times the training step: images a second, GFLOP/s, memory.",
    discussion: """
      Runs under mpirun as well; --batch-size is global and rank 0 prints. GFLOP/s count 6 operations for every \
      multiply-add of the direct convolutions (forward, input gradient, weight gradient).
      """)

  @Option(help: "Nominal depth.") var depth = 22
  @Option(help: "k.") var widenFactor = 1
  @Option(help: "Images of one step over all ranks.") var batchSize = 64
  @Option(help: "Equal parts of a batch.") var microbatches = 8
  @Option(help: "Threads of each rank. (default: the cores it may use / the ranks sharing them)")
  var threads: Int?
  @Option(help: "What computes convolutions.") var engine = TrainingConfiguration.Engine.native
  @Option(help: "Batch statistics over the global batch or each microbatch.")
  var batchNorm = BatchNormalizationScope.global
  @Option(help: "Bytes of gradients exchanged at once, such as 512KiB or 4MiB. (default: 4MiB)")
  var bucketSize: ByteCount?
  @Option(help: "Who moves messages on while a rank computes: poll or thread.")
  var progress = MessageProgress.poll
  @Option(help: "Adam's moments on every rank or divided among them: replicated or sharded.")
  var optimizerState = OptimizerStateMode.sharded
  @Option(help: "Steps that are timed, after three that are not.") var steps = 10
  @Flag(help: "Print one JSON object as the last line.") var json = false

  func run() throws {
    let start = ContinuousClock.now
    try Ranks.run(progress: progress) { communicator in
      let threads = try Threads(communicator)
      let chosen = try ChosenEngine(engine, communicator)
      let prepared = try Ranks.together(communicator) {
        try Prepared(
          self, communicator, chosen.engine, threadCount: threads.count(asked: self.threads))
      }
      let times = try prepared.run(start: start)
      guard communicator.rank == 0 else { return }
      report(times, chosen, communicator)
    }
  }

  private struct Times {
    let threads: Int
    let network: WideResNet
    let first: Double
    let steps: [Double]
    let plannedByteCount: Int
  }

  /// Everything allocated, nothing run yet.
  private struct Prepared {
    private let step: TrainingStep
    private let network: WideResNet
    private let images: Tensor
    private let labels: AlignedBuffer<UInt8>
    private let count: Int
    private let pool: WorkerPool
    private let communicator: any Communicator

    init(
      _ options: BenchmarkStepCommand, _ communicator: any Communicator,
      _ engine: any ConvolutionEngine, threadCount: Int
    ) throws {
      guard options.steps > 0 else { throw UsageError("--steps must be at least 1.") }
      var configuration = TrainingConfiguration()
      configuration.batchSize = options.batchSize
      configuration.microbatches = options.microbatches
      configuration.batchNorm = options.batchNorm
      configuration.optimizerState = options.optimizerState
      configuration.bucketByteCount = options.bucketSize?.value ?? configuration.bucketByteCount
      let plan = try MicrobatchPlan(
        globalBatchSize: options.batchSize, microbatchCount: options.microbatches,
        rank: communicator.rank, worldSize: communicator.worldSize)
      network = WideResNet(
        try WideResNet.Configuration(depth: options.depth, widenFactor: options.widenFactor))
      let model = ModelState(network)
      network.initialize(model.parameters, model.runningStatistics, seed: 0)
      pool = WorkerPool(workerCount: threadCount, progressing: communicator)
      step = TrainingStep(
        model, plan: plan, configuration: configuration, engine: engine, pool: pool,
        communicator: communicator)
      images = Tensor(
        Shape(
          plan.localBatchSize, WideResNet.imageSize, WideResNet.imageSize,
          WideResNet.imageChannels))
      labels = AlignedBuffer(count: plan.localBatchSize)
      let stream = RandomStream(seed: 0, purpose: "benchmark images")
      for i in images.elements.indices {
        images.elements[i] = Float(stream.integer(UInt64(i), below: 256))
      }
      for i in labels.elements.indices { labels.pointer[i] = UInt8(i % WideResNet.classCount) }
      count = options.steps
      self.communicator = communicator
    }

    func run(start: ContinuousClock.Instant) throws -> Times {
      var times: [Double] = []
      var first = 0.0
      try step.begin()
      for number in 1...count + 3 {
        try communicator.barrier()
        let began = ContinuousClock.now
        _ = try step(images.pointer, labels: labels.pointer, step: number)
        let ended = ContinuousClock.now
        if number == 1 { first = (ended - start).seconds }
        if number > 3 { times.append((ended - began).seconds) }
      }
      return Times(
        threads: pool.workerCount, network: network, first: first, steps: times.sorted(),
        plannedByteCount: step.byteCount)
    }
  }

  private func report(_ times: Times, _ chosen: ChosenEngine, _ communicator: any Communicator) {
    let median = times.steps[times.steps.count / 2]
    let rate = Double(batchSize) / median
    let gflops = 6 * Double(times.network.multiplyAdds) * rate / 1e9
    let name = times.network.configuration.name
    if !json {
      print(
        """
        \(name), batch \(batchSize), \(communicator.worldSize) rank(s) × \(times.threads) thread(s), \
        engine \(chosen.description), n = \(times.steps.count)
        median \(format(median * 1e3)) ms a step (fastest \(format(times.steps[0] * 1e3)), \
        slowest \(format((times.steps.last ?? 0) * 1e3))): \(format(rate)) img/s, \(format(gflops)) GFLOP/s
        first step done \(format(times.first)) s after the start; planned memory \
        \(times.plannedByteCount >> 20) MiB, peak of rank 0 \(Machine.peakMemory >> 20) MiB
        """)
      return
    }
    print(
      """
      {"network":"\(name)","widen_factor":\(widenFactor),"batch_size":\(batchSize),\
      "microbatches":\(microbatches),"ranks":\(communicator.worldSize),"threads":\(times.threads),\
      "engine":"\(chosen.engine.name)","isa":"\(chosen.engine.instructions)",\
      "images_per_second":\(format(rate)),"step_milliseconds":\(format(median * 1e3)),\
      "step_milliseconds_minimum":\(format(times.steps[0] * 1e3)),\
      "step_milliseconds_maximum":\(format((times.steps.last ?? 0) * 1e3)),"n":\(times.steps.count),\
      "gflops":\(format(gflops)),"planned_memory_bytes":\(times.plannedByteCount),\
      "peak_memory_bytes":\(Machine.peakMemory),"first_step_seconds":\(format(times.first)),\
      "cpu":"\(Machine.cpuModel)"}
      """)
  }

  private func format(_ value: Double) -> String { String(format: "%.3f", value) }
}

extension Duration {
  /// The duration in seconds.
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
