import Collectives
import Datasets
import Models
import Support
import Tensors
import TestSupport
import Testing
import Training

/// A flipped bit anywhere in what a run carries from step to step is found in the next step, and its rank and tensor named.
@Suite struct IntegrityTests {
  /// The damage that all ranks report, and the step in which they do.
  private struct Found: Hashable, Sendable {
    var tensor: String
    var ranks: [Int]
    var step: Int
    var inStep: Int
  }

  /// Trains for three steps with a bit flipped after the second, or for two with a checkpoint; returns what is found.
  private static func train(
    worldSize: Int, mode: OptimizerStateMode, fault: String, isSaved: Bool = false
  ) throws -> Found? {
    let found = try ThreadCommunicator.run(worldSize: worldSize) { communicator -> Found? in
      var configuration = TrainingConfiguration()
      configuration.depth = 10
      configuration.batchSize = 8
      configuration.evalEvery = 0
      configuration.optimizerState = mode
      configuration.steps = isSaved ? 2 : 1000
      let model = ModelState(
        try configuration.modelGraph(), optimizerStates: mode == .replicated || worldSize == 1 ? ["m", "v"] : [])
      model.graph.initialize(model.parameters, model.runningStatistics, seed: 0)
      let trainer = try Trainer(
        configuration, model: model, completedSteps: 0, dataset: SyntheticDataset.dataset(),
        engine: configuration.engine.make(environment: [:]), pool: try WorkerPool(workerCount: 2),
        communicator: communicator, logger: nil, stop: StopRequest(),
        fault: try FaultInjection(environment: ["WRN_FAULT": fault, "WRN_ALLOW_FAULTS": "1"]))
      defer { trainer.stopLoading() }
      var step = 0
      do {
        if isSaved {
          step = 2
          try trainer.run()
        } else {
          try trainer.prepare()
          for number in 1...3 {
            step = number
            _ = try trainer.step(number)
          }
          try trainer.withGatheredState { _ in }
        }
        return nil
      } catch let error as RanksDesynchronized {
        return Found(tensor: error.tensor, ranks: error.ranks, step: error.step, inStep: step)
      }
    }
    #expect(Set(found).count == 1, "all ranks agree")
    return found[0]
  }

  private static let graph = try? TrainingConfiguration.depth10.modelGraph()

  /// A tensor and one of its elements and bits, drawn from a seed.
  private static func draw(
    _ layout: ParameterLayout, seed: Int
  ) -> (tensor: String, element: Int, bit: Int, choice: Int) {
    let random = RandomStream(seed: UInt64(seed), purpose: "damage")
    // By element, not by tensor: large tensors are hit more often.
    let flat = random.integer(0, below: layout.elementCount)
    let parameter = layout.parameters.last { $0.range.lowerBound <= flat } ?? layout.parameters[0]
    return (
      parameter.name, flat - parameter.range.lowerBound, random.integer(1, below: 32), random.integer(2, below: 1000)
    )
  }

  @Test(arguments: 0..<24)
  func parametersAndStatistics(seed: Int) throws {
    let graph = try #require(Self.graph)
    let layout = seed % 6 == 5 ? graph.statisticsLayout : graph.parameterLayout
    let (tensor, element, bit, choice) = Self.draw(layout, seed: seed)
    let worldSize = [2, 3, 1][seed % 3]
    let mode = seed % 4 == 3 ? OptimizerStateMode.replicated : .sharded
    let rank = choice % worldSize
    let fault = "bitflip:rank=\(rank),step=2,tensor=\(tensor),element=\(element),bit=\(bit)"
    let found = try Self.train(worldSize: worldSize, mode: mode, fault: fault)
    #expect(found == Found(tensor: tensor, ranks: [rank], step: 2, inStep: 3), "\(fault)")
    // Before the checkpoint of the same step.
    let saved = try Self.train(worldSize: worldSize, mode: mode, fault: fault, isSaved: true)
    #expect(saved == Found(tensor: tensor, ranks: [rank], step: 2, inStep: 2), "\(fault)")
  }

  /// One rank has an element of a sharded state, every rank one of a replicated state.
  @Test(arguments: 0..<8)
  func optimizerStates(seed: Int) throws {
    let graph = try #require(Self.graph)
    let (name, element, bit, _) = Self.draw(graph.parameterLayout, seed: 100 + seed)
    let tensor = (seed.isMultiple(of: 2) ? "m." : "v.") + name
    let mode = seed % 4 == 3 ? OptimizerStateMode.replicated : .sharded
    var owners: [Int] = []
    for rank in 0..<2 {
      let fault = "bitflip:rank=\(rank),step=2,tensor=\(tensor),element=\(element),bit=\(bit)"
      guard let found = try Self.train(worldSize: 2, mode: mode, fault: fault, isSaved: seed > 3) else { continue }
      #expect(found == Found(tensor: tensor, ranks: [rank], step: 2, inStep: seed > 3 ? 2 : 3), "\(fault)")
      owners.append(rank)
    }
    #expect(mode == .replicated ? owners == [0, 1] : owners.count == 1, "\(tensor) \(element)")
  }

  /// Every change of one bit changes the checksum, at every position of blocks of several lengths.
  @Test func aChecksumChangesWithEveryBit() {
    for count in [1, 5, 16, 17, 40, 512] {
      let values = UnsafeMutablePointer<Float>.allocate(capacity: count)
      defer { values.deallocate() }
      for i in 0..<count { values[i] = Float(i) * 0.37 - 3 }
      let original = BlockChecksum.value(values, count: count)
      for i in 0..<count {
        for bit in 0..<32 {
          let value = values[i]
          values[i] = Float(bitPattern: value.bitPattern ^ 1 << UInt32(bit))
          #expect(BlockChecksum.value(values, count: count) != original, "\(count): \(i), \(bit)")
          values[i] = value
        }
      }
      // The order matters as well.
      if count > 1 && values[0] != values[count - 1] {
        (values[0], values[count - 1]) = (values[count - 1], values[0])
        #expect(BlockChecksum.value(values, count: count) != original)
      }
    }
  }
}

extension TrainingConfiguration {
  fileprivate static var depth10: TrainingConfiguration {
    var configuration = TrainingConfiguration()
    configuration.depth = 10
    return configuration
  }
}
