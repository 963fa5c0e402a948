import Collectives
import DataParallel
import Models
import Optimizers
import Tensors
import TestSupport
import Testing
import Training

/// An update rule of one state through shards, checkpoints and training steps: nothing but the rule knows its states.
@Suite struct OptimizerStateTests {
  /// Stochastic gradient descent with momentum, as PyTorch's `SGD` computes it.
  private struct Momentum: UpdateRule {
    let stateNames = ["momentum"]

    func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep) {
      let (w, g, momentum) = (operands.parameters, operands.gradients, operands.state(0))
      let (rate, decay) = (Float(step.learningRate), Float(1e-4 * step.weightDecayMultiplier))
      for i in elements {
        momentum[i] = 0.9 * momentum[i] + (g[i] + decay * w[i])
        w[i] -= rate * momentum[i]
      }
    }
  }

  private static let learningRate = 0.05

  /// The same as ``Momentum`` for one element, in any precision.
  private static func update<Value: BinaryFloatingPoint>(_ w: inout Value, _ momentum: inout Value, gradient: Value) {
    momentum = Value(Float(0.9)) * momentum + (gradient + Value(Float(1e-4)) * w)
    w -= Value(Float(learningRate)) * momentum
  }

  private static func graph() throws -> ModelGraph {
    TraxWideResNet.graph(try WideResNetConfiguration(depth: 10, widenFactor: 1))
  }

  private static func gradient(step: Int, count: Int) -> [Float] {
    let stream = RandomStream(seed: 3, purpose: "step \(step)")
    return (0..<UInt64(count)).map { Float(2 * stream.uniform($0) - 1) }
  }

  /// For every bucket, an uneven shard per rank; some are empty.
  private static func shards(elementCount: Int, worldSize: Int) -> [[Range<Int>]] {
    let bounds = [0, 1000, elementCount / 3, elementCount - 517, elementCount]
    let buckets = zip(bounds, bounds.dropFirst()).map { $0..<$1 }.reversed()
    return buckets.enumerated().map { index, bucket in
      let weights = (0..<worldSize).map { ($0 + index) % worldSize }
      let total = max(1, weights.reduce(0, +))
      var start = bucket.lowerBound
      return (0..<worldSize).map { rank in
        let end =
          rank == worldSize - 1
          ? bucket.upperBound
          : bucket.lowerBound + bucket.count * weights[...rank].reduce(0, +) / total
        defer { start = end }
        return start..<end
      }
    }
  }

  /// Resumes from the latest checkpoint if there is one, updates with generated gradients, and saves.
  private static func run(
    _ steps: ClosedRange<Int>, in path: String, mode: OptimizerStateMode, _ communicator: any Communicator
  ) throws {
    let graph = try graph()
    let (rank, rule) = (communicator.rank, Momentum())
    let everyRankHoldsStates = mode == .replicated || communicator.worldSize == 1
    let model = ModelState(graph, optimizerStates: everyRankHoldsStates || rank == 0 ? rule.stateNames : [])
    graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    if rank == 0, let checkpoint = try CheckpointDirectory(path).latest().checkpoint {
      try checkpoint.load(into: model)
    }
    try model.broadcast(root: 0, includingOptimizerStates: everyRankHoldsStates, on: communicator)

    let count = graph.parameterCount
    let shards = shards(elementCount: count, worldSize: communicator.worldSize)
    let shard = OptimizerStateShard(
      model, names: rule.stateNames, mode: mode, shards: shards, communicator: communicator)
    try shard.scatter(from: model)
    let ownedCount = shards.reduce(0) { $0 + $1[rank].count }
    #expect(shard.byteCount == 4 * (everyRankHoldsStates ? count : ownedCount))
    #expect(model.optimizerStates.isEmpty == !everyRankHoldsStates)

    let optimizer = Optimizer(rule, layout: graph.parameterLayout)
    let gradients = ParameterStore(graph.parameterLayout)
    for step in steps {
      for (i, value) in gradient(step: step, count: count).enumerated() { gradients.elements[i] = value }
      for (bucket, owned) in shards.enumerated() {
        for (owner, elements) in owned.enumerated() where mode == .replicated || owner == rank {
          let offset = shard.offset(of: elements.lowerBound, bucket: bucket)
          optimizer.update(
            UpdateOperands(
              elements, parameters: model.parameters, gradients: gradients, states: shard.states, stateOffset: offset),
            step: step, learningRate: learningRate)
        }
      }
    }
    for owned in shards {
      for (owner, elements) in owned.enumerated() {
        let values = UnsafeMutableBufferPointer(rebasing: model.parameters.elements[elements])
        try communicator.broadcast(UnsafeMutableRawBufferPointer(values), root: owner)
      }
    }
    try shard.gather(into: model)
    if rank == 0 {
      try CheckpointDirectory(path).save(
        model,
        state: Checkpoint.State(
          step: steps.upperBound, streamPosition: 0, seed: 0, network: "WRN-10-1", dataFingerprint: "",
          configuration: [:]), keeping: .init(newest: 0))
    }
    shard.releaseGathered(model)
    #expect(model.optimizerStates.isEmpty == !everyRankHoldsStates)
  }

  /// Three steps on some ranks, a checkpoint, and three more on another number of ranks.
  @Test(arguments: 1...4, OptimizerStateMode.allCases)
  func oneStateThroughShardsAndCheckpoints(worldSize: Int, mode: OptimizerStateMode) throws {
    let folder = try TemporaryDirectory()
    _ = try ThreadCommunicator.run(worldSize: worldSize) { try Self.run(1...3, in: folder.path, mode: mode, $0) }
    _ = try ThreadCommunicator.run(worldSize: 5 - worldSize) { try Self.run(4...6, in: folder.path, mode: mode, $0) }
    let file = try SafetensorsFile(folder.path + "/step-00000006/optimizer.safetensors")
    let graph = try Self.graph()
    #expect(Set(file.entries.map(\.name)) == Set(graph.parameterLayout.parameters.map { "momentum.\($0.name)" }))

    let found = ModelState(graph, optimizerStates: ["momentum"])
    try Checkpoint(folder.path + "/step-00000006").load(into: found)
    let start = ModelState(graph)
    graph.initialize(start.parameters, start.runningStatistics, seed: 0)
    let count = graph.parameterCount
    var (w, momentum) = (Array(start.parameters.elements), [Float](repeating: 0, count: count))
    var (exact, exactMomentum) = (w.map(Double.init), [Double](repeating: 0, count: count))
    for step in 1...6 {
      let gradient = Self.gradient(step: step, count: count)
      for i in 0..<count {
        Self.update(&w[i], &momentum[i], gradient: gradient[i])
        Self.update(&exact[i], &exactMomentum[i], gradient: Double(gradient[i]))
      }
    }
    let momenta = found.optimizerStates[0].store.elements
    let mismatches = (0..<count).filter { i in
      found.parameters.elements[i].bitPattern != w[i].bitPattern || momenta[i].bitPattern != momentum[i].bitPattern
    }
    #expect(mismatches.isEmpty, "\(mismatches.count) elements, the first is \(mismatches.first ?? 0)")
    let largest = (0..<count).map { abs(Double(found.parameters.elements[$0]) - exact[$0]) }.max() ?? .nan
    let largestMomentum = (0..<count).map { abs(Double(momenta[$0]) - exactMomentum[$0]) }.max() ?? .nan
    // Six roundings of weights below 2 and of momenta below 5.
    #expect(largest < 2e-6 && largestMomentum < 5e-6)
  }

  /// Weights and states after training steps under a rule that ``TrainingStep`` does not know.
  private static func train(
    _ mode: OptimizerStateMode, _ communicator: any Communicator
  ) throws -> [[UInt32]] {
    var configuration = TrainingConfiguration()
    (configuration.batchSize, configuration.microbatches) = (8, 4)
    (configuration.optimizerState, configuration.bucketByteCount) = (mode, 64 << 10)
    configuration.learningRate = learningRate
    let graph = try graph()
    let model = ModelState(graph)
    graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    let plan = try configuration.microbatchPlan(communicator)
    let step = TrainingStep(
      model, plan: plan, configuration: configuration, rule: Momentum(), engine: BLASConvolutionEngine(),
      pool: try WorkerPool(workerCount: 2), communicator: communicator)
    let images = Tensor(Shape(plan.localBatchSize, 32, 32, 3))
    let labels = AlignedBuffer<UInt8>(count: plan.localBatchSize)
    let pixels = RandomStream(seed: 1, purpose: "pixels")
    for (i, image) in plan.localImages.enumerated() {
      labels.pointer[i] = UInt8(image % 10)
      for j in 0..<3072 { images.elements[i * 3072 + j] = Float(pixels.integer(UInt64(image * 3072 + j), below: 256)) }
    }
    try step.prepare()
    for number in 1...3 {
      try step.waitForParameters()
      let before = Array(model.parameters.elements)
      let momentum = model.optimizerStates.first.map { Array($0.store.elements) }
      _ = try step(images.pointer, labels: labels.pointer, step: number)
      guard communicator.worldSize == 1 else { continue }
      // One rank has the whole gradient and all states.
      let mismatches = before.indices.filter { i in
        var (w, m) = (before[i], momentum?[i] ?? .nan)
        update(&w, &m, gradient: step.gradients.elements[i])
        return model.parameters.elements[i].bitPattern != w.bitPattern
      }
      #expect(mismatches.isEmpty, "step \(number): \(mismatches.count) elements, the first is \(mismatches.first ?? 0)")
    }
    var bits: [[UInt32]] = []
    try step.withGatheredState { model in
      bits = model.stores.map { $0.elements.map(\.bitPattern) }
    }
    return bits
  }

  @Test(arguments: OptimizerStateMode.allCases)
  func aTrainingStepTakesAnyRule(mode: OptimizerStateMode) throws {
    let alone = try Self.train(mode, SingleProcessCommunicator())
    #expect(alone.count == 3 && alone[2].contains { $0 != 0 }, "weights, statistics, momentum")
    for worldSize in 2...4 {
      let found = try ThreadCommunicator.run(worldSize: worldSize) { try Self.train(mode, $0) }
      let areEqual = found[0] == alone && found.allSatisfy { $0[0] == alone[0] && $0[1] == alone[1] }
      #expect(areEqual, "\(worldSize) ranks")
    }
  }
}
