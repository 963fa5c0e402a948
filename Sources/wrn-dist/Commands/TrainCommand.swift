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

  func run() throws {
    let options = try options.mergedWithConfigFile()
    let configuration = try options.configuration()
    let fault = try FaultInjection(environment: ProcessInfo.processInfo.environment)
    let stop = StopSignals.install()
    try RankSession.run(progress: configuration.progress) { communicator in
      try RunConsistency.requireEqualPrograms(on: communicator)
      try RunConsistency.requireEqualFlags(configuration, options, on: communicator)
      let watchdog = try StallWatch.start(configuration, communicator)
      defer { watchdog?.stop() }
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
        threadCount: run.pool.workerCount, engine: selection.description, completedSteps: completedSteps, communicator)
      try run.recorder?.describe(
        session, source: run.source, parameterCount: run.model.graph.parameterCount)
      try trainer.run(writing: trace)
      run.recorder?.reportEnd()
    }
  }
}

extension TrainingOptions {
  /// Returns the settings of `--config`, overridden by the flags of the command line.
  ///
  /// - Throws: ``UsageError`` if the file is invalid.
  func mergedWithConfigFile() throws -> TrainingOptions {
    guard let config else { return self }
    let settings = try ConfigurationFile.arguments(config)
    do {
      _ = try TrainingOptions.parse(WRNDist.joiningNegativeNumbers(settings))
    } catch {
      throw UsageError("--config \(config): \(TrainingOptions.message(for: error)).")
    }
    var flags = Array(CommandLine.arguments.dropFirst())
    if flags.first == "train" { flags.removeFirst() }
    return try TrainingOptions.parse(WRNDist.joiningNegativeNumbers(settings + flags))
  }
}
