import ArgumentParser
import Collectives
import DataParallel
import Foundation
import Models
import Training

/// Times the training step on made-up images.
struct BenchmarkStepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step",
    abstract: "Times the training step: images a second, GFLOP/s, memory.",
    discussion: """
      Runs under mpirun as well; --batch-size is global and rank 0 prints. GFLOP/s count 6 operations for every \
      multiply-add of the direct convolutions (forward, input gradient, weight gradient). Afterwards as many passes \
      forward alone are timed, as an evaluation makes them. Exposed communication is the time that rank 0 waited for \
      messages; bytes are those of a step that leave rank 0, and those that leave its host.
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
  var progress = ProgressMode.poll
  @Option(help: "Adam's moments on every rank or divided among them: replicated or sharded.")
  var optimizerState = OptimizerStateMode.sharded
  @Option(help: "Partial sums of gradients travel as fp32 or rounded to bf16, which changes bits.")
  var wire = WireFormat.fp32
  @Option(help: "Steps that are timed, after three that are not.") var steps = 10
  @Flag(help: "Print one JSON object as the last line.") var json = false

  func run() throws {
    try RankSession.run(progress: progress) { communicator in
      let threads = try ThreadBudget(communicator)
      let chosen = try EngineSelection(engine, communicator)
      let (threadCount, plan) = try RankSession.together(communicator) {
        guard steps > 0 else { throw UsageError("--steps must be at least 1.") }
        return (try threads.count(asked: self.threads), try trainingConfiguration.microbatchPlan(communicator))
      }
      let byteCount = try RankSession.together(communicator) {
        try trainingConfiguration.plannedByteCount(
          plan, engine: chosen.engine, workerCount: threadCount, rank: communicator.rank,
          hosts: communicator.hosts)
      }
      try MemoryCheck.requireFits(for: byteCount, communicator)
      let benchmark = try StepBenchmark(
        trainingConfiguration, plan, engine: chosen.engine, threadCount: threadCount, communicator)
      let times = try benchmark.run(steps: steps)
      guard communicator.rank == 0 else { return }
      let report = StepReport(
        options: trainingConfiguration, times: times, engine: chosen,
        worldSize: communicator.worldSize)
      print(json ? try report.json() : report.text)
    }
  }

  private var trainingConfiguration: TrainingConfiguration {
    var configuration = TrainingConfiguration()
    configuration.depth = depth
    configuration.widenFactor = widenFactor
    configuration.batchSize = batchSize
    configuration.microbatches = microbatches
    configuration.batchNorm = batchNorm
    configuration.optimizerState = optimizerState
    configuration.wire = wire
    configuration.bucketByteCount = bucketSize?.value ?? configuration.bucketByteCount
    return configuration
  }
}

/// A benchmark of the training step as it is printed.
struct StepReport {
  let options: TrainingConfiguration
  let times: StepBenchmark.Times
  let engine: EngineSelection
  let worldSize: Int

  private var median: Double { StepBenchmark.Times.median(times.steps) }
  private var exposed: Double { StepBenchmark.Times.median(times.waits) }
  private var slowest: Double { times.steps[times.steps.count - 1] }
  private var rate: Double { Double(options.batchSize) / median }
  private var evaluationRate: Double {
    Double(options.batchSize) / StepBenchmark.Times.median(times.evaluations)
  }
  private var gflops: Double { 6 * Double(times.network.multiplyAdds) * rate / 1e9 }

  /// Several lines for people.
  var text: String {
    """
    \(times.network.name), batch \(options.batchSize), \(worldSize) rank(s) × \(times.threads) thread(s), \
    engine \(engine.description), n = \(times.steps.count)
    median \(format(median * 1e3)) ms a step (fastest \(format(times.steps[0] * 1e3)), \
    slowest \(format(slowest * 1e3))): \(format(rate)) img/s, \(format(gflops)) GFLOP/s
    exposed communication \(format(exposed * 1e3)) ms a step; rank 0 sends \(kibibytes(times.sentByteCount)) KiB, its \
    host \(kibibytes(times.sentToOtherHostsByteCount)) KiB to others
    evaluation \(format(evaluationRate)) img/s, \(format(evaluationRate / rate)) times the training rate
    first step done \(format(times.first)) s after the start; planned memory \
    \(times.plannedByteCount >> 20) MiB (\(times.keptByteCount >> 20) MiB of activations), peak of rank 0 \
    \(times.peakByteCount >> 20) MiB
    """
  }

  /// One line for programs.
  ///
  /// - Throws: Nothing that occurs: all members can be encoded.
  func json() throws -> String {
    try JSONLine.render(
      Line(
        network: times.network.name, widenFactor: options.widenFactor,
        batchSize: options.batchSize, microbatches: options.microbatches, ranks: worldSize,
        threads: times.threads, engine: engine.engine.name, isa: engine.engine.instructions,
        imagesPerSecond: rate, stepMilliseconds: median * 1e3,
        stepMillisecondsMinimum: times.steps[0] * 1e3, stepMillisecondsMaximum: slowest * 1e3,
        n: times.steps.count, gflops: gflops, evaluationImagesPerSecond: evaluationRate,
        wire: options.wire.rawValue, exposedCommunicationMilliseconds: exposed * 1e3,
        bytesSentPerRank: times.sentByteCount, bytesSentToOtherHosts: times.sentToOtherHostsByteCount,
        plannedMemoryBytes: times.plannedByteCount, keptActivationBytes: times.keptByteCount,
        peakMemoryBytes: times.peakByteCount, firstStepSeconds: times.first, cpu: HostInfo.cpuModel))
  }

  private struct Line: Encodable {
    let network: String
    let widenFactor: Int
    let batchSize: Int
    let microbatches: Int
    let ranks: Int
    let threads: Int
    let engine: String
    let isa: String
    let imagesPerSecond: Double
    let stepMilliseconds: Double
    let stepMillisecondsMinimum: Double
    let stepMillisecondsMaximum: Double
    let n: Int
    let gflops: Double
    let evaluationImagesPerSecond: Double
    let wire: String
    let exposedCommunicationMilliseconds: Double
    let bytesSentPerRank: Int
    let bytesSentToOtherHosts: Int
    let plannedMemoryBytes: Int
    let keptActivationBytes: Int
    let peakMemoryBytes: Int
    let firstStepSeconds: Double
    let cpu: String
  }

  private func kibibytes(_ count: Int) -> Int { (count + 512) >> 10 }
  private func format(_ value: Double) -> String { String(format: "%.3f", value) }
}
