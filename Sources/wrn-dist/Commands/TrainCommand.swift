import ArgumentParser
import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import OpenMPI
import Tensors
import Training

/// Trains a network; the default command.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Trains a Wide ResNet; under mpirun all ranks train one network together.",
    discussion: """
      Without flags it reproduces Trax's WideResnet(widen_factor=1) on the data that --data auto finds. The output \
      folder gets config.yaml, metrics.jsonl, TensorBoard logs in train/ and eval/, and checkpoints/.
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
      let threads = try ThreadBudget(communicator)
      let chosen = try EngineSelection(configuration.engine, communicator)
      let threadCount = try RankSession.together(communicator) {
        try threads.count(asked: configuration.threads)
      }
      try requireMemory(configuration, chosen.engine, threadCount: threadCount, communicator)
      var run = try RankSession.together(communicator) {
        try TrainingRun(configuration, options, threadCount: threadCount, communicator)
      }
      let completedSteps = try run.start(communicator)
      let trace = try options.output.trace.map {
        try TraceSession(
          $0, host: CPUAffinity.current().hostName, workerCount: run.pool.workerCount, communicator: communicator)
      }
      let trainer = try RankSession.together(communicator) {
        try Trainer(
          run.configuration, model: run.model, completedSteps: completedSteps,
          dataset: run.source.dataset, engine: chosen.engine, pool: run.pool,
          communicator: communicator, logger: run.recorder, stop: stop,
          fault: fault, tracer: trace?.tracer)
      }
      try run.recorder?.reportStart(
        layout: "\(communicator.worldSize) rank(s) × \(run.pool.workerCount) thread(s), "
          + "engine \(chosen.description)",
        worldSize: communicator.worldSize, plannedByteCount: trainer.plannedByteCount,
        completedSteps: completedSteps)
      try trainer.run(writing: trace)
      run.recorder?.reportEnd()
    }
  }

  /// Refuses a run that does not fit into the memory of its hosts.
  private func requireMemory(
    _ configuration: TrainingConfiguration, _ engine: any ConvolutionEngine, threadCount: Int,
    _ communicator: any Communicator
  ) throws {
    let byteCount = try RankSession.together(communicator) {
      try configuration.plannedByteCount(
        configuration.microbatchPlan(communicator), engine: engine, workerCount: threadCount, rank: communicator.rank,
        hosts: communicator.hostOfRank)
    }
    try MemoryCheck.requireFits(for: byteCount, communicator)
  }
}

extension TrainingOptions {
  /// Puts the settings of `--config` before the flags of the command line, so that the flags win.
  ///
  /// - Throws: ``UsageError`` if the file cannot be used.
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
