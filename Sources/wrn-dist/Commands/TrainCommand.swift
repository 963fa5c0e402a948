import ArgumentParser
import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import OpenMPI
import Tensors
import Training

/// Trains a model; the default command.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Trains a Wide ResNet; under mpirun all ranks train one model together.",
    discussion: """
      Without flags it reproduces Trax's WideResnet(widen_factor=1) on the data set that --data auto finds. The output \
      directory gets config.yaml, run.json, metrics.jsonl, TensorBoard logs in train/ and eval/, and checkpoints/.
      """)

  @OptionGroup var options: TrainingOptions

  @Flag(help: "Print every setting and where its value is from, as YAML, and exit.")
  var printConfig = false

  func run() throws {
    let sources = try ConfigurationSources.current()
    let options = try sources.options()
    let configuration = try options.configuration()
    let isFirstRank = (LaunchEnvironment(ProcessInfo.processInfo.environment).rank ?? 0) == 0
    if isFirstRank {
      ConfigurationVariables.warnings(ProcessInfo.processInfo.environment).forEach(StandardError.write)
    }
    if printConfig {
      if isFirstRank { print(try ConfigurationReport(sources, configuration).render()) }
      return
    }
    let fault = try FaultInjection(environment: ProcessInfo.processInfo.environment)
    let stop = StopSignals.install()
    let start = try StartLimit(seconds: configuration.stallTimeout)
    try RankSession.run(progress: configuration.progress) { world in
      try RunConsistency.requireEqualPrograms(on: world)
      try RunConsistency.requireEqualFlags(configuration, options, on: world)
      try RankSession.onComputingRanks(of: world, configuration.sharedCores, onWaiting: start.reach) { communicator in
        let watchdog = try StallWatch.start(configuration, communicator)
        defer { watchdog?.stop() }
        start.reach()
        let threads = try ThreadBudget(communicator)
        let selection = try EngineSelection(configuration.engine, communicator)
        let threadCount = try RankSession.collectively(communicator) {
          try threads.count(requested: configuration.threads)
        }
        try MemoryCheck.requireFits(
          configuration, engine: selection.engine, threadCount: threadCount, communicator)
        var run = try RankSession.collectively(communicator) {
          try TrainingRun(configuration, options, threadCount: threadCount, communicator)
        }
        let completedSteps = try run.start(communicator)
        let trace = try options.output.trace.map {
          try TraceSession(
            $0, host: CPUAffinity.current().hostName, workerCount: run.pool.workerCount, communicator: communicator)
        }
        let trainer = try RankSession.collectively(communicator) {
          try Trainer(
            run.configuration, model: run.model, completedSteps: completedSteps,
            dataset: run.dataset, normalization: run.normalization, engine: selection.engine, pool: run.pool,
            communicator: communicator, logger: run.recorder, stop: stop,
            timeLimit: TimeLimit(environment: ProcessInfo.processInfo.environment), fault: fault, tracer: trace?.tracer)
        }
        try run.recorder?.reportStart(
          layout: "\(communicator.worldSize) rank(s) × \(run.pool.workerCount) thread(s), "
            + "engine \(selection.description)",
          worldSize: communicator.worldSize, plannedByteCount: trainer.plannedByteCount,
          completedSteps: completedSteps)
        let session = try RunSession.session(
          threadCount: run.pool.workerCount, engine: selection.description, completedSteps: completedSteps, communicator
        )
        try run.recorder?.describe(
          session, source: run.source, parameterCount: run.model.graph.parameterCount)
        try trainer.run(writing: trace)
        run.recorder?.reportEnd()
      }
    }
  }
}

extension ConfigurationSources {
  /// Reads the sources of the settings of this process.
  ///
  /// - Throws: ``UsageError`` if a variable or the file of `--config` is invalid.
  static func current() throws -> ConfigurationSources {
    var words = Array(CommandLine.arguments.dropFirst())
    if words.first == "train" { words.removeFirst() }
    return try ConfigurationSources(
      WRNDist.joiningNegativeNumbers(words), environment: ProcessInfo.processInfo.environment)
  }
}
