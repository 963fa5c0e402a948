import Collectives
import Models
import ReferenceImplementation
import Tensors
import Testing
import Training

/// The other ways to normalize: each microbatch by itself, and by running statistics.
@Suite struct NormalizationScopeTests {
  private static let images = ModelVectors.images.map(Double.init)
  private static let labels = ModelVectors.labels.map(Int.init)
  private static let count = ModelVectors.imageCount

  private func tensors(_ store: ParameterStore) -> ReferenceWideResNet.Tensors {
    Dictionary(
      uniqueKeysWithValues: store.layout.parameters.map { ($0.name, store[$0].map(Double.init)) })
  }

  /// Each microbatch is a batch of its own; gradients, loss and statistics are the means over microbatches.
  @Test func everyMicrobatchByItself() throws {
    let run = try VectorRun(depth: 10, widenFactor: 1, batchNorm: .microbatch)
    let parameters = tensors(run.model.parameters)
    let network = ReferenceWideResNet(blocks: 1, widenFactor: 1)
    let each = (0..<Self.count).map { n in
      network(Array(Self.images[n * 3072..<(n + 1) * 3072]), labels: [Self.labels[n]], parameters)
    }
    let found = try run.update()
    #expect(abs(Double(found.loss) - each.reduce(0) { $0 + $1.loss } / 4) < 1e-5)
    for parameter in run.model.graph.parameterLayout.parameters {
      let parts = try each.map { try #require($0.gradients[parameter.name]) }
      let exact = parts[0].indices.map { i in parts.reduce(0) { $0 + $1[i] } / 4 }
      let largest = exact.map(abs).max() ?? 0
      let worst = zip(run.step.gradients[parameter], exact).map { abs(Double($0) - $1) }.max() ?? 0
      #expect(worst <= GradientLimit.relative * largest + GradientLimit.absolute, "\(parameter.name): \(worst)")
    }
    for (name, _) in each[0].statistics {
      let parameter = try #require(run.model.graph.statisticsLayout["\(name).running_var"])
      let values = run.model.runningStatistics[parameter]
      let norms = try each.map { try #require($0.statistics[name]) }
      let scale = norms[0].variance.max() ?? 0
      for c in values.indices {
        let exact = 0.9 + 0.1 * norms.reduce(0) { $0 + $1.variance[c] } / 4
        #expect(abs(Double(values[c]) - exact) <= 1e-5 * scale, "\(name)")
      }
    }
  }

  @Test(arguments: [1, 2])
  func runningStatistics(widenFactor: Int) throws {
    let run = try VectorRun(depth: 16, widenFactor: widenFactor)
    for _ in 0..<3 { _ = try run.update() }
    let model = run.model
    var running: [String: ReferenceBatchNormalization] = [:]
    for parameter in model.graph.statisticsLayout.parameters where parameter.kind == .runningMean {
      let name = String(parameter.name.dropLast(".running_mean".count))
      let variance = try #require(model.graph.statisticsLayout["\(name).running_var"])
      running[name] = ReferenceBatchNormalization(
        mean: model.runningStatistics[parameter].map(Double.init),
        variance: model.runningStatistics[variance].map(Double.init))
    }
    let exact = ReferenceWideResNet(blocks: 2, widenFactor: widenFactor)(
      Self.images, labels: Self.labels, tensors(model.parameters), running: running)
    let (loss, logits) = try infer(model)
    #expect(abs(loss - exact.loss) <= 2e-5 * exact.loss)
    let largest = exact.logits.map(abs).max() ?? 0
    for (i, logit) in exact.logits.enumerated() { #expect(abs(logits[i] - logit) <= 2e-5 * largest) }
  }

  /// Runs the network forward, three images a microbatch, so that the last one is short.
  private func infer(_ model: ModelState) throws -> (loss: Double, logits: [Double]) {
    let tree = ReductionTree(leafCount: 2)
    let pass = ModelExecutor(
      model.graph, engine: BLASConvolutionEngine(), pool: try WorkerPool(workerCount: 2),
      parameters: model.parameters, runningStatistics: model.runningStatistics,
      imagesPerMicrobatch: 3, microbatches: 0..<2, tree: tree, scope: .global, purpose: .inference)
    let batch = LocalBatch(
      model.graph, globalImageCount: Self.count, imagesPerMicrobatch: 3, localRange: 0..<2,
      tree: tree, communicator: SingleProcessCommunicator())
    try pass.forward(
      ModelVectors.images, labels: ModelVectors.labels, batch: batch, statistics: .running)
    let loss = try pass.finishLoss(batch)
    return (loss, (0..<Self.count * 10).map { Double(pass.logits[$0]) })
  }
}
