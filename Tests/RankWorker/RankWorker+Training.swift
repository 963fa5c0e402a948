import AllocationCounter
import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import Training

extension RankWorker {
  /// Prints the number of heap allocations of training steps after warm-up: loader, step, log.
  ///
  /// - Parameter ranks: The world size. The other ranks send only zeros, without Open MPI, whose own allocations would
  ///   count.
  /// - Throws: Errors of the plan or of a step.
  static func countTrainingAllocations(ranks: Int) throws {
    let communicator: any Communicator =
      ranks == 1
      ? SingleProcessCommunicator()
      : SilentCommunicator(worldSize: ranks, ranksPerHost: ranks.isMultiple(of: 2) ? 2 : ranks)
    let network = TraxWideResNet.graph(try WideResNetConfiguration(depth: 10, widenFactor: 1))
    var configuration = TrainingConfiguration()
    configuration.depth = 10
    configuration.batchSize = 16
    configuration.wire = communicator.hostOfRank.last == 0 ? .fp32 : .bf16
    configuration.steps = 1000
    let directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("wrn-dist-allocations-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: directory) }
    configuration.outputDirectory = directory
    let dataset = SyntheticDataset.dataset()
    let model = ModelState(network)
    network.initialize(model.parameters, model.runningStatistics, seed: 0)
    let logger = try RunLogger(
      configuration, networkName: network.name, output: OutputDirectory(creating: directory),
      completedSteps: 0, trainingCount: dataset.training.count, dataFingerprint: "", console: Silence())
    let trainer = try Trainer(
      configuration, model: model, completedSteps: 0, dataset: dataset,
      engine: configuration.engine.make(environment: [:]),
      pool: try WorkerPool(workerCount: 2, progressing: communicator),
      communicator: communicator, logger: logger, stop: StopRequest())
    // The first steps start threads, fill lazy globals and OpenBLAS's buffers.
    for number in 1...10 { _ = try trainer.step(number) }
    let control = AllocationCounter.count { free(strdup(String(CommandLine.argc))) }
    let steps = try AllocationCounter.count {
      for number in 11...60 { _ = try trainer.step(number) }
    }
    line("control \(control), fifty steps \(steps)")
    trainer.stopLoading()
  }
}

/// A console that discards its lines.
private final class Silence: Console {
  let isLive = false
  func write(_ line: String) {}
  func showLive(_ line: String) {}
}
