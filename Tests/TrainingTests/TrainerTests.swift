import Collectives
import Datasets
import Models
import TestSupport
import Testing
import Training

/// The training loop on several ranks: the end of a run that diverges, and the memory that a checkpoint needs.
@Suite struct TrainerTests {
  private static func trainer(
    _ communicator: any Communicator, _ change: (inout TrainingConfiguration) -> Void
  ) throws -> (trainer: Trainer, model: ModelState) {
    var configuration = TrainingConfiguration()
    configuration.depth = 10
    configuration.batchSize = 16
    configuration.evalEvery = 0
    change(&configuration)
    let model = ModelState(try configuration.modelGraph())
    model.graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    let trainer = try Trainer(
      configuration, model: model, completedSteps: 0, dataset: SyntheticDataset.dataset(),
      engine: configuration.engine.make(environment: [:]), pool: try WorkerPool(workerCount: 1),
      communicator: communicator, logger: nil, stop: StopRequest())
    return (trainer, model)
  }

  /// Otherwise MPI would write parameters into memory that is no longer theirs.
  @Test(arguments: [2, 3, 4], [OptimizerStateMode.sharded, .replicated])
  func aRunThatDivergesLeavesNoMessageInFlight(worldSize: Int, mode: OptimizerStateMode) throws {
    let pending = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      let (trainer, _) = try Self.trainer(communicator) {
        $0.learningRate = 1e30
        $0.optimizerState = mode
      }
      #expect(throws: TrainingDiverged.self) { try trainer.run() }
      try communicator.barrier()
      return communicator.undeliveredMessageCount
    }
    #expect(pending == [Int](repeating: 0, count: worldSize))
  }

  /// A running variance that is infinite is read by no training step, so loss and gradient are finite.
  @Test(arguments: [1, 2, 3], [CheckpointMode.async, .sync])
  func aStateThatIsNotFiniteIsNotSaved(worldSize: Int, mode: CheckpointMode) throws {
    _ = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      let (trainer, model) = try Self.trainer(communicator) { ($0.checkpointMode, $0.steps) = (mode, 2) }
      let statistics = model.runningStatistics
      statistics.elements[statistics.elements.count - 1] = .infinity
      let error = #expect(throws: TrainingDiverged.self) { try trainer.run() }
      let name = model.graph.statisticsLayout.parameters.last?.name ?? ""
      #expect(error?.step == 2 && error?.cause == "\(name), which the step has updated")
      return true
    }
  }

  /// Rank 0 plans the optimizer's states that it gathers for a checkpoint.
  @Test(arguments: [2, 4])
  func theMemoryOfACheckpointIsPlanned(worldSize: Int) throws {
    let bytes = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      var configuration = TrainingConfiguration()
      let (trainer, model) = try Self.trainer(communicator) {
        $0.widenFactor = 2
        configuration = $0
      }
      defer { trainer.stopLoading() }
      _ = try trainer.step(1)
      let before = model.byteCount
      var gathered = 0
      try trainer.withGatheredState { gathered = $0.byteCount - before }
      let planned = try configuration.plannedByteCount(
        configuration.microbatchPlan(communicator), engine: configuration.engine.make(environment: [:]), workerCount: 1,
        rank: communicator.rank, hosts: communicator.hostOfRank)
      return [planned, gathered, 8 * model.graph.parameterCount]
    }
    #expect(bytes[0][1] == bytes[0][2], "m and v of every parameter")
    #expect(bytes[1][1] == 0)
    // Both ranks compute equally many microbatches; their shards may differ by less.
    #expect(bytes[0][0] - bytes[1][0] >= bytes[0][1] * 9 / 10, "\(bytes)")
  }
}
