import Collectives
import DataParallel
import Datasets
import Models
import TestSupport
import Testing
import Training

/// The planned memory of a run is what it allocates.
@Suite struct PlannedMemoryTests {
  private static func configuration(_ change: (inout TrainingConfiguration) -> Void) -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    configuration.depth = 10
    configuration.batchSize = 32
    change(&configuration)
    return configuration
  }

  private static let configurations = [
    configuration { _ in }, configuration { $0.checkpointMode = .sync }, configuration { $0.evalEvery = 0 },
    configuration { $0.depth = 16 },
    configuration { $0.widenFactor = 2 }, configuration { $0.batchNorm = .microbatch },
    configuration { ($0.batchSize, $0.microbatches) = (21, 7) }, configuration { $0.evalRanks = .root },
    configuration { ($0.architecture, $0.dropout) = (.wrn, 0.3) }, fast,
  ]

  /// Three image sizes, an average of the weights, mirror images and estimated statistics.
  private static var fast: TrainingConfiguration {
    var configuration = TrainingConfiguration(recipe: .fast)
    (configuration.depth, configuration.widenFactor) = (10, 1)
    (configuration.batchSize, configuration.microbatches, configuration.steps) = (32, 8, 100)
    return configuration
  }

  private static var engines: [any ConvolutionEngine] {
    [BLASConvolutionEngine()]
      + InstructionSet.allCases.filter(\.isSupported).prefix(1).map { NativeConvolutionEngine($0) }
  }

  /// The planned bytes over the bytes that a trainer allocates, on one rank.
  private static func ratio(
    _ configuration: TrainingConfiguration, _ engine: any ConvolutionEngine, _ communicator: any Communicator
  ) throws -> Double {
    let model = ModelState(try configuration.modelGraph())
    let trainer = try Trainer(
      configuration, model: model, completedSteps: 0, dataset: SyntheticDataset.dataset(), engine: engine,
      pool: try WorkerPool(workerCount: 2), communicator: communicator, logger: nil, stop: StopRequest())
    defer { trainer.stopLoading() }
    let planned = try configuration.plannedByteCount(
      MicrobatchPlan(
        globalBatchSize: configuration.batchSize, microbatchCount: configuration.microbatches,
        rank: communicator.rank, worldSize: communicator.worldSize),
      engine: engine, workerCount: 2, rank: communicator.rank, hosts: communicator.hostOfRank)
    return Double(planned) / Double(trainer.plannedByteCount)
  }

  @Test(arguments: configurations)
  func oneRank(configuration: TrainingConfiguration) throws {
    for engine in Self.engines {
      let ratio = try Self.ratio(configuration, engine, SingleProcessCommunicator())
      #expect((0.97...1.03).contains(ratio), "\(engine.name)")
    }
  }

  @Test(arguments: configurations, [2, 3, 4])
  func severalRanks(configuration: TrainingConfiguration, worldSize: Int) throws {
    for engine in Self.engines {
      let ratios = try ThreadCommunicator.run(worldSize: worldSize) {
        try Self.ratio(configuration, engine, $0)
      }
      #expect(ratios.allSatisfy { (0.97...1.03).contains($0) }, "\(engine.name): \(ratios)")
    }
  }
}
