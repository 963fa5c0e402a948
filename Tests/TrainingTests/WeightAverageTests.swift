import Collectives
import DataParallel
import Datasets
import Models
import Optimizers
import Tensors
import TestSupport
import Testing
import Training

/// Averaged weights and estimated statistics: what they hold, that training never sees them, and that ranks do not matter.
@Suite struct WeightAverageTests {
  private static func configuration() -> TrainingConfiguration {
    var configuration = TrainingConfiguration(recipe: .fast)
    (configuration.depth, configuration.widenFactor) = (10, 1)
    (configuration.batchSize, configuration.microbatches, configuration.steps) = (16, 8, 6)
    (configuration.epochs, configuration.evalEvery) = (nil, 0)
    configuration.optimizer.averageDecay = 0.75
    configuration.optimizer.averageEvery = 2
    configuration.resolution = .full
    return configuration
  }

  /// A run whose parameters after every step are recorded, and the average at its end.
  private struct Run {
    var parameters: [[Float]] = []
    var average: [Float] = []
    var statistics: [Float] = []
  }

  private static func run(_ communicator: any Communicator, threads: Int) throws -> Run {
    let configuration = configuration()
    let graph = try configuration.modelGraph()
    let model = ModelState(graph)
    graph.initialize(model.parameters, model.runningStatistics, seed: 0, configuration.initialization)
    let plan = try configuration.microbatchPlan(communicator)
    let training = SyntheticDataset.dataset().training
    let pipeline = ImagePipeline(normalization: .cifar10)
    let step = TrainingStep(
      model, plan: plan, configuration: configuration, engine: BLASConvolutionEngine(),
      pool: try WorkerPool(workerCount: threads), communicator: communicator)
    let estimation = StatisticsEstimation(
      split: training.holdingOut(training.count - 64).training, pipeline: pipeline,
      sampler: Sampler(mode: .none, count: 64, seed: 0), plan: plan)
    let average = WeightAverage(model, interval: 2, communicator: communicator)
    try step.prepare()
    let images = Tensor(Shape(plan.localBatchSize, 32, 32, 3))
    let labels = AlignedBuffer<UInt8>(count: plan.localBatchSize)
    var run = Run()
    for number in 1...configuration.steps {
      for (i, position) in plan.localImages.enumerated() {
        labels.pointer[i] = try pipeline.readTest(
          training, at: 16 * number + position, into: images.pointer + i * 3072)
      }
      _ = try step(images.pointer, labels: labels.pointer, step: number)
      try step.waitForParameters()
      run.parameters.append(Array(model.parameters.elements))
      let before = model.replicatedStores.map { Array($0.elements) }
      #expect(try average.refresh(after: number, step, estimation) == (number >= 2))
      #expect(model.replicatedStores.map { Array($0.elements) } == before, "training must not see the average")
    }
    run.average = Array(average.averaged.parameters.elements)
    run.statistics = Array(average.averaged.runningStatistics.elements)
    average.inPlaceOfModel { #expect(Array(model.parameters.elements) == run.average) }
    #expect(Array(model.parameters.elements) == run.parameters.last)
    return run
  }

  @Test func theAverageIsThatOfTheWeights() throws {
    let run = try Self.run(SingleProcessCommunicator(), threads: 2)
    for (i, found) in run.average.enumerated() {
      // Averagings at steps 2, 4 and 6.
      let (a, b, c) = (Double(run.parameters[1][i]), Double(run.parameters[3][i]), Double(run.parameters[5][i]))
      let exact = 0.75 * (0.75 * a + 0.25 * b) + 0.25 * c
      #expect(abs(Double(found) - exact) <= 4e-7 * max(abs(a), abs(b), abs(c)), "element \(i)")
    }
  }

  @Test(arguments: [2, 3, 4])
  func ranksDoNotMatter(worldSize: Int) throws {
    let alone = try Self.run(SingleProcessCommunicator(), threads: 1)
    let runs = try ThreadCommunicator.run(worldSize: worldSize) { try Self.run($0, threads: 1 + $0.rank % 2) }
    for run in runs {
      #expect(run.average == alone.average && run.statistics == alone.statistics)
      #expect(run.parameters == alone.parameters)
    }
  }

  /// The mean over four batches of what one batch's statistics are, which a fresh executor computes.
  @Test func statisticsAreMeansOverBatches() throws {
    let run = try Self.run(SingleProcessCommunicator(), threads: 1)
    let graph = try Self.configuration().modelGraph()
    let model = ModelState(graph)
    for (i, value) in run.average.enumerated() { model.parameters.elements[i] = value }
    let training = SyntheticDataset.dataset().training
    let images = Tensor(Shape(16, 32, 32, 3))
    let labels = AlignedBuffer<UInt8>(count: 16)
    let tree = ReductionTree(leafCount: 8)
    let executor = ModelExecutor(
      graph, engine: BLASConvolutionEngine(), pool: try WorkerPool(workerCount: 1), parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: 2, microbatches: 0..<8, tree: tree,
      scope: .global,
      purpose: .inference)
    var sums = [Double](repeating: 0, count: run.statistics.count)
    for number in 0..<4 {
      for i in 0..<16 {
        labels.pointer[i] = try ImagePipeline(normalization: .cifar10).readTest(
          training, at: 16 * number + i, into: images.pointer + i * 3072)
      }
      let batch = LocalBatch(
        graph, globalImageCount: 16, imagesPerMicrobatch: 2, localRange: 0..<8, tree: tree,
        communicator: SingleProcessCommunicator())
      try executor.forward(images.pointer, labels: labels.pointer, batch: batch, statistics: .batch)
      try executor.finishRunningStatistics(batch, momentum: 0)
      _ = try executor.finishLoss(batch)
      for (i, value) in model.runningStatistics.elements.enumerated() { sums[i] += Double(value) / 4 }
    }
    for (i, exact) in sums.enumerated() {
      #expect(abs(Double(run.statistics[i]) - exact) <= 1e-6 * max(abs(exact), 1e-3), "statistic \(i)")
    }
  }
}
