import AllocationCounter
import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import Training

extension RankWorker {
  /// Prints how many heap allocations training steps cause after warm-up: loader, step, log.
  ///
  /// - Parameter ranks: The ranks that the step believes in; the others send nothing but zeros, without Open MPI, whose
  ///   own allocations do not count.
  /// - Throws: What planning or a step throws.
  static func countTrainingAllocations(ranks: Int) throws {
    let communicator: any Communicator =
      ranks == 1
      ? SingleProcessCommunicator()
      : SilentCommunicator(worldSize: ranks, ranksPerHost: ranks.isMultiple(of: 2) ? 2 : ranks)
    let network = TraxWideResNet.graph(try WideResNetConfiguration(depth: 10, widenFactor: 1))
    var configuration = TrainingConfiguration()
    configuration.depth = 10
    configuration.batchSize = 16
    configuration.wire = communicator.hosts.last == 0 ? .fp32 : .bf16
    configuration.steps = 1000
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("wrn-dist-allocations-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    configuration.outputDirectory = folder
    let dataset = SyntheticCIFAR10.dataset()
    let model = ModelState(network, holdingMoments: ranks == 1)
    network.initialize(model.parameters, model.runningStatistics, seed: 0)
    let recorder = try RunLogger(
      configuration, networkName: network.name, output: OutputDirectory(creating: folder),
      completedSteps: 0, trainingCount: dataset.training.count, dataFingerprint: "", console: Silence())
    let trainer = try Trainer(
      configuration, model: model, completedSteps: 0, dataset: dataset,
      engine: configuration.engine.make(environment: [:]),
      pool: WorkerPool(workerCount: 2, progressing: communicator),
      communicator: communicator, recorder: recorder, stop: StopRequest())
    // The first steps start threads, fill lazy globals and OpenBLAS's buffers.
    for number in 1...10 { _ = try trainer.step(number) }
    let control = AllocationCounter.count { free(strdup(CommandLine.arguments[0])) }
    let steps = try AllocationCounter.count {
      for number in 11...60 { _ = try trainer.step(number) }
    }
    line("control \(control), fifty steps \(steps)")
    trainer.finish()
  }
}

/// A console that shows nothing.
private final class Silence: Console {
  let isLive = false
  func write(_ line: String) {}
  func showLive(_ line: String) {}
}
