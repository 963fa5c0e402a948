import ArgumentParser
import Collectives
import DataParallel
import Foundation
import Models
import Support
import Training

/// Times the training step on synthetic images.
struct BenchmarkStepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step",
    abstract: "Times the training step: images per second, GFLOP/s, memory.",
    discussion: """
      Runs under mpirun as well; rank 0 prints. GFLOP/s count 6 operations per multiply-add of the direct convolutions \
      (forward, input gradient, weight gradient). Afterwards it times as many forward passes, as in an evaluation. Exposed \
      communication is the time that rank 0 waited for messages. Bytes per step are those that rank 0 sends, and those that \
      its host sends to others.
      """)

  @Option(help: "\(HelpText.architecture)") var architecture = WideResNetConfiguration.Architecture.trax
  @Option(help: "\(HelpText.depth)") var depth = 22
  @Option(help: "Widen factor k.") var widenFactor = 1
  @Option(help: "Kernel sizes of a block's convolutions. (default: 3,3)") var block: NumberList?
  @Option(help: "Probability of dropout before the last convolution of each block.") var dropout = 0.0
  @Option(help: "Rows and columns of the images, a multiple of 4 up to 32.") var resolution = 32
  @Option(help: "\(HelpText.batchSize)") var batchSize = 64
  @Option(help: "\(HelpText.microbatches).") var microbatches = 8
  @Option(help: "\(HelpText.threads)")
  var threads: Int?
  @Option(help: "\(HelpText.sharedCores).") var sharedCores = SharedCores.join
  @Option(help: "\(HelpText.engine).") var engine = TrainingConfiguration.Engine.native
  @Option(help: "\(HelpText.batchNorm)")
  var batchNorm = BatchNormalizationScope.global
  @Option(help: "\(HelpText.bucketSize). (default: 4MiB)")
  var bucketSize: ByteCount?
  @Option(help: "\(HelpText.progress).")
  var progress = ProgressMode.poll
  @Option(help: "\(HelpText.optimizerState).")
  var optimizerState = OptimizerStateMode.sharded
  @Option(help: "Wire format of partial gradient sums: fp32, or bf16, which affects results.")
  var wire = WireFormat.fp32
  @Option(help: "Timed steps, after three for warm-up.") var steps = 10
  @Flag(help: "\(HelpText.json)") var json = false

  func run() throws {
    try RankSession.run(progress: progress) { world in
      try RankSession.onComputingRanks(of: world, sharedCores) { communicator in
        let threads = try ThreadBudget(communicator)
        let selection = try EngineSelection(engine, communicator)
        let (threadCount, plan) = try RankSession.collectively(communicator) {
          guard steps > 0 else { throw UsageError("--steps must be at least 1.") }
          _ = try ResolutionSchedule("\(resolution)")
          _ = try bucketSize?.bucketByteCount()
          return (try threads.count(requested: self.threads), try trainingConfiguration.microbatchPlan(communicator))
        }
        try MemoryCheck.requireFits(
          trainingConfiguration, engine: selection.engine, threadCount: threadCount, communicator)
        let benchmark = try StepBenchmark(
          trainingConfiguration, plan, imageSize: resolution, engine: selection.engine, threadCount: threadCount,
          communicator)
        let times = try benchmark.run(steps: steps)
        guard communicator.rank == 0 else { return }
        let report = StepReport(
          options: trainingConfiguration, imageSize: resolution, times: times, engine: selection,
          worldSize: communicator.worldSize)
        print(json ? try report.json() : report.text)
      }
    }
  }

  private var trainingConfiguration: TrainingConfiguration {
    var configuration = TrainingConfiguration()
    configuration.architecture = architecture
    configuration.depth = depth
    configuration.widenFactor = widenFactor
    configuration.block = block?.numbers ?? configuration.block
    configuration.dropout = dropout
    configuration.batchSize = batchSize
    configuration.microbatches = microbatches
    configuration.batchNorm = batchNorm
    configuration.optimizerState = optimizerState
    configuration.wire = wire
    configuration.bucketByteCount = bucketSize?.value ?? configuration.bucketByteCount
    return configuration
  }
}

/// The report of `benchmark step`.
struct StepReport {
  let options: TrainingConfiguration
  let imageSize: Int
  let times: StepBenchmark.Times
  let engine: EngineSelection
  let worldSize: Int

  private var median: Double { times.steps.median }
  private var exposed: Double { times.waits.median }
  private var check: Double { times.integrityChecks.median }
  private var slowest: Double { times.steps[times.steps.count - 1] }
  private var rate: Double { Double(options.batchSize) / median }
  private var evaluationRate: Double {
    Double(options.batchSize) / times.evaluations.median
  }
  private var gflops: Double { 6 * Double(times.model.multiplyAdds) * rate / 1e9 }

  /// What differs from Trax's network on whole images.
  private var variant: String {
    (options.architecture == .trax ? "" : " (\(options.architecture.rawValue))")
      + (options.dropout == 0 ? "" : ", dropout \(options.dropout)") + (imageSize == 32 ? "" : ", \(imageSize) pixels")
  }

  /// The human-readable report.
  var text: String {
    """
    \(times.model.name)\(variant), batch \(options.batchSize), \(worldSize) rank(s) × \(times.threads) thread(s), \
    engine \(engine.description), n = \(times.steps.count)
    median \(format(median * 1e3)) ms per step (fastest \(format(times.steps[0] * 1e3)), \
    slowest \(format(slowest * 1e3))): \(format(rate)) img/s, \(format(gflops)) GFLOP/s
    exposed communication \(format(exposed * 1e3)) ms per step; rank 0 sends \(kibibytes(times.sentByteCount)) KiB, its \
    host \(kibibytes(times.sentToOtherHostsByteCount)) KiB to others
    integrity check at most \(format(check * 1e3)) ms per step (\(format(100 * check / median)) %)
    evaluation \(format(evaluationRate)) img/s, \(format(evaluationRate / rate)) times the training rate
    first step done \(format(times.first)) s after the start; planned memory \
    \(times.plannedByteCount >> 20) MiB (\(times.activationByteCount >> 20) MiB of activations), peak of rank 0 \
    \(times.peakByteCount >> 20) MiB
    """
  }

  /// The machine-readable report.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  func json() throws -> String {
    try JSONLine.render(
      Line(
        network: times.model.name, architecture: options.architecture.rawValue, imageSize: imageSize,
        widenFactor: options.widenFactor,
        batchSize: options.batchSize, microbatches: options.microbatches, ranks: worldSize,
        threads: times.threads, engine: engine.engine.name, isa: engine.engine.instructions,
        imagesPerSecond: rate, stepMilliseconds: median * 1e3,
        stepMillisecondsMinimum: times.steps[0] * 1e3, stepMillisecondsMaximum: slowest * 1e3,
        n: times.steps.count, gflops: gflops, evaluationImagesPerSecond: evaluationRate,
        wire: options.wire.rawValue, exposedCommunicationMilliseconds: exposed * 1e3,
        integrityCheckMilliseconds: check * 1e3, bytesSentPerRank: times.sentByteCount,
        bytesSentToOtherHosts: times.sentToOtherHostsByteCount,
        plannedMemoryBytes: times.plannedByteCount, keptActivationBytes: times.activationByteCount,
        peakMemoryBytes: times.peakByteCount, firstStepSeconds: times.first, cpu: HostInfo.cpuModel))
  }

  // Property names are those of `--json`.
  private struct Line: Encodable {
    let network: String
    let architecture: String
    let imageSize: Int
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
    let integrityCheckMilliseconds: Double
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
