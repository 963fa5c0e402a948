import Collectives
import DataParallel
import Datasets
import Models
import Tensors
import TestSupport
import Testing
import Training

/// Evaluations: exact counts, no image twice, the same result for any number of ranks.
///
/// And training in more ranks than `mpirun` tests start.
@Suite struct EvaluationTests {
  private static func model() throws -> ModelState {
    let model = ModelState(TraxWideResNet.graph(try WideResNetConfiguration(depth: 10, widenFactor: 1)))
    model.graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    return model
  }

  private static func configuration(_ batches: TrainingConfiguration.EvaluationBatches, batchSize: Int)
    -> TrainingConfiguration
  {
    var configuration = TrainingConfiguration()
    configuration.batchSize = batchSize
    configuration.microbatches = 4
    configuration.evalBatches = batches
    return configuration
  }

  private static func evaluate(
    _ configuration: TrainingConfiguration, _ communicator: any Communicator, index: Int = 0
  ) throws -> Evaluation.Result {
    let evaluation = Evaluation(
      try model(), split: SyntheticDataset.dataset().test, configuration: configuration,
      engine: BLASConvolutionEngine(), pool: try WorkerPool(workerCount: 1), communicator: communicator)
    return try evaluation(index: index)
  }

  @Test func countsAreThoseOfTheLogits() throws {
    // 2,000 images in batches of 48: the last has 32.
    let configuration = Self.configuration(.all, batchSize: 48)
    let evaluation = Evaluation(
      try Self.model(), split: SyntheticDataset.dataset().test, configuration: configuration,
      engine: BLASConvolutionEngine(), pool: try WorkerPool(workerCount: 2), communicator: SingleProcessCommunicator())
    #expect(evaluation.exampleCount == 2000)
    let logits = AlignedBuffer<Float>(count: 20_000)
    let result = try evaluation(index: 0, logits: logits.pointer)
    var confusion = ConfusionMatrix(classCount: 10)
    let pixels = AlignedBuffer<Float>(count: 3072)
    for n in 0..<2000 {
      let row = Array(logits.elements[n * 10..<(n + 1) * 10])
      let label = try SyntheticDataset.dataset().test.readRecord(at: n, pixels: pixels.pointer)
      confusion.count(label: Int(label), prediction: row.firstIndex(of: row.max() ?? 0) ?? -1)
    }
    #expect(result.confusion == confusion)
    #expect(result.exampleCount == 2000 && result.correctCount == confusion.correctCount)
    #expect(result.accuracy == Double(result.correctCount) / 2000)
  }

  /// The mean of the logits of an image and its mirror image, from two evaluations of the logits alone.
  @Test func mirrorImagesAreAveraged() throws {
    var configuration = Self.configuration(.next(5), batchSize: 48)
    let split = SyntheticDataset.dataset().test
    func evaluation() throws -> Evaluation {
      Evaluation(
        try Self.model(), split: split, configuration: configuration, engine: BLASConvolutionEngine(),
        pool: try WorkerPool(workerCount: 2), communicator: SingleProcessCommunicator())
    }
    let plain = try evaluation()(index: 0)
    #expect(plain.mirroredConfusion == nil && plain.mirroredAccuracy == nil)
    configuration.testFlip = true
    let found = try evaluation()(index: 0)
    #expect(found.loss == plain.loss && found.confusion == plain.confusion)

    // The same images and their mirror images as one batch each, by an executor of its own.
    let model = try Self.model()
    let images = Tensor(Shape(48, 32, 32, 3))
    let labels = AlignedBuffer<UInt8>(count: 48)
    let tree = ReductionTree(leafCount: 4)
    let executor = ModelExecutor(
      model.graph, engine: BLASConvolutionEngine(), pool: try WorkerPool(workerCount: 1), parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: 12, microbatches: 0..<4, tree: tree,
      scope: .global,
      purpose: .inference)
    var confusion = ConfusionMatrix(classCount: 10)
    for b in 1...5 {
      var sums = [Double](repeating: 0, count: 480)
      for isMirrored in [false, true] {
        for i in 0..<48 {
          let pixels = images.pointer + i * 3072
          labels.pointer[i] = try split.readRecord(at: b * 48 + i, pixels: pixels)
          guard isMirrored else { continue }
          for y in 0..<32 {
            for x in 0..<16 {
              for c in 0..<3 { swap(&pixels[(y * 32 + x) * 3 + c], &pixels[(y * 32 + 31 - x) * 3 + c]) }
            }
          }
        }
        let batch = LocalBatch(
          model.graph, globalImageCount: 48, imagesPerMicrobatch: 12, localRange: 0..<4, tree: tree,
          communicator: SingleProcessCommunicator())
        try executor.forward(images.pointer, labels: labels.pointer, batch: batch, statistics: .batch)
        _ = try executor.finishLoss(batch)
        for i in 0..<480 { sums[i] += Double(executor.logits[i]) }
      }
      for i in 0..<48 {
        let row = Array(sums[i * 10..<(i + 1) * 10])
        confusion.count(label: Int(labels.pointer[i]), prediction: row.firstIndex(of: row.max() ?? 0) ?? -1)
      }
    }
    #expect(found.mirroredConfusion == confusion)
  }

  @Test(arguments: [1, 2, 3, 4, 7])
  func ranksChangeNothing(worldSize: Int) throws {
    for (ranks, statistics) in [
      (TrainingConfiguration.EvaluationRanks.all, NormalizationStatistics.batch), (.root, .batch), (.all, .running),
    ] {
      var configuration = Self.configuration(.next(5), batchSize: 16)
      configuration.evalStatistics = statistics
      configuration.testFlip = statistics == .running
      let alone = try Self.evaluate(configuration, SingleProcessCommunicator())
      configuration.evalRanks = ranks
      let shared = configuration
      let found = try ThreadCommunicator.run(worldSize: worldSize) { try Self.evaluate(shared, $0) }
      #expect(found.allSatisfy { $0 == alone })
    }
  }

  /// Trax never rewinds its test stream: evaluation j takes the 5 batches from 16 + 80·j on.
  @Test func theEndlessStreamContinues() throws {
    let configuration = Self.configuration(.next(5), batchSize: 16)
    let split = SyntheticDataset.dataset().test
    let pixels = AlignedBuffer<Float>(count: 3072)
    for index in [0, 1, 24, 25, 1000] {
      let found = try Self.evaluate(configuration, SingleProcessCommunicator(), index: index)
      var labels = [Int](repeating: 0, count: 10)
      for position in 16 + index * 80..<16 + (index + 1) * 80 {
        labels[Int(try split.readRecord(at: position % split.count, pixels: pixels.pointer))] += 1
      }
      #expect((0..<10).map { found.confusion.row($0).reduce(0, +) } == labels, "evaluation \(index)")
    }
  }

  /// Up to eight ranks of one process: after some steps every rank's weights, and all optimizer states as a
  /// checkpoint would have them, are those of one rank.
  @Test(arguments: [(8, 8), (7, 7), (5, 3)], OptimizerStateMode.allCases)
  func trainingOnManyRanks(_ size: (microbatches: Int, mostRanks: Int), mode: OptimizerStateMode) throws {
    var weights = Set<UInt64>()
    var states = Set<UInt64>()
    for worldSize in 1...size.mostRanks {
      let found = try ThreadCommunicator.run(worldSize: worldSize) {
        try Self.train(size.microbatches, mode, $0)
      }
      weights.formUnion(found.map(\.weights))
      states.insert(found[0].states)
    }
    #expect(weights.count == 1)
    #expect(states.count == 1)
  }

  private static func train(
    _ microbatches: Int, _ mode: OptimizerStateMode, _ communicator: any Communicator
  ) throws -> (weights: UInt64, states: UInt64) {
    var configuration = TrainingConfiguration()
    configuration.optimizerState = mode
    configuration.batchSize = 2 * microbatches
    configuration.microbatches = microbatches
    configuration.steps = 3
    configuration.evalEvery = 0
    let model = ModelState(try model().graph)
    model.graph.initialize(model.parameters, model.runningStatistics, seed: 0)
    let trainer = try Trainer(
      configuration, model: model, completedSteps: 0, dataset: SyntheticDataset.dataset(),
      engine: BLASConvolutionEngine(), pool: try WorkerPool(workerCount: 1 + communicator.rank % 2),
      communicator: communicator, logger: nil,
      stop: StopRequest())
    try trainer.run()
    var (weights, states) = (ConsistencyDigest(), ConsistencyDigest())
    try trainer.withGatheredState { model in
      for store in model.replicatedStores { weights.combine(UnsafeRawBufferPointer(store.bytes)) }
      for state in model.optimizerStates {
        states.combine(UnsafeRawBufferPointer(state.store.bytes))
      }
    }
    return (weights.value, states.value)
  }
}
