import ArgumentParser
import Collectives
import DataParallel
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
  var progress = MessageProgress.poll
  @Option(help: "Adam's moments on every rank or divided among them: replicated or sharded.")
  var optimizerState = OptimizerStateMode.sharded
  @Option(help: "Partial sums of gradients travel as fp32 or rounded to bf16, which changes bits.")
  var wire = WireFormat.fp32
  @Option(help: "Steps that are timed, after three that are not.") var steps = 10
  @Flag(help: "Print one JSON object as the last line.") var json = false

  func run() throws {
    try Ranks.run(progress: progress) { communicator in
      let threads = try Threads(communicator)
      let chosen = try ChosenEngine(engine, communicator)
      let (threadCount, plan) = try Ranks.together(communicator) {
        guard steps > 0 else { throw UsageError("--steps must be at least 1.") }
        return (try threads.count(asked: self.threads), try trainingConfiguration.microbatchPlan(communicator))
      }
      let byteCount = try Ranks.together(communicator) {
        try trainingConfiguration.plannedByteCount(
          plan, engine: chosen.engine, workerCount: threadCount, rank: communicator.rank,
          hosts: communicator.hosts)
      }
      try MemoryCheck.requireRoom(for: byteCount, communicator)
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
