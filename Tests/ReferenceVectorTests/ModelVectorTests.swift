import Tensors
import Testing

/// Networks agree with an independent implementation on loss, logits, every gradient and five updates.
@Suite struct ModelVectorTests {
  /// Trax's networks, and one family that only tests have.
  private static let models = (1...4).map { ("wrn-22", $0) } + [("plain-16", 1), ("plain-16", 2)]

  private func run(_ model: String, _ widenFactor: Int) throws -> VectorRun {
    model == "wrn-22"
      ? try VectorRun(widenFactor: widenFactor)
      : try VectorRun(PlainResidualNetwork.graph(blocks: 2, widenFactor: widenFactor))
  }

  @Test(arguments: models)
  func lossLogitsAndGradients(model: String, widenFactor: Int) throws {
    let expected = try ModelVectors(model: model, widenFactor: widenFactor)
    let run = try run(model, widenFactor)
    #expect(run.model.graph.parameterCount == expected.parameterCount)
    let norm = run.model.parameters.elements.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    #expect(abs(norm - expected.parameterNorm) < 1e-4)

    let found = try run.update()
    #expect(abs(Double(found.loss) - expected.losses[0]) < 1e-5)
    #expect(abs(Double(found.gradientNorm) / expected.gradientNorm - 1) < 1e-5)
    // Logits are sums over pooled activations of order 1, behind 22 layers of fp32: found at most 4e-6.
    for (i, logit) in expected.logits.enumerated() {
      #expect(abs(Double(run.step.logits[i]) - logit) < 2e-5, "logit \(i)")
    }
    try compareGradients(run, expected)
    compareStatistics(run, expected)
  }

  /// Every gradient: norm and sampled elements.
  private func compareGradients(_ run: VectorRun, _ expected: ModelVectors) throws {
    let parameters = run.model.graph.parameterLayout.parameters
    try #require(parameters.count == expected.gradients.count)
    for (parameter, gradient) in zip(parameters, expected.gradients) {
      let values = run.step.gradients[parameter]
      #expect(values.count == gradient.elementCount, "\(parameter.name)")
      let norm = values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      // Relative to the tensor's largest sample. A bias before a batch norm has no effect on the loss: its gradient
      // is what rounding leaves of terms of order 1e-2, hence the absolute part.
      let largest = gradient.samples.map { abs($0.value) }.max() ?? 0
      let limit = GradientLimit.relative * largest + GradientLimit.absolute
      #expect(abs(norm - gradient.norm) <= GradientLimit.relative * gradient.norm + limit, "\(parameter.name)")
      for (index, value) in gradient.samples {
        let error = abs(Double(values[index]) - value)
        #expect(error <= limit, "\(parameter.name)[\(index)] is off by \(error)")
      }
    }
  }

  private func compareStatistics(_ run: VectorRun, _ expected: ModelVectors) {
    let names = run.model.graph.statisticsLayout.parameters
    let pairs = zip(expected.runningMeans, expected.runningVariances).flatMap { [$0, $1] }
    #expect(names.count == pairs.count)
    for (parameter, values) in zip(names, pairs) {
      for (c, value) in values.enumerated() {
        let found = Double(run.model.runningStatistics[parameter][c])
        // A mean may be near 0 where the activations are not: relative to the tensor's largest value.
        let scale = values.map(abs).max() ?? 0
        #expect(abs(found - value) < 1e-5 * scale, "\(parameter.name)[\(c)]")
      }
    }
  }

  @Test(arguments: models)
  func fiveUpdates(model: String, widenFactor: Int) throws {
    let expected = try ModelVectors(model: model, widenFactor: widenFactor)
    let run = try run(model, widenFactor)
    for (i, loss) in expected.losses.enumerated() {
      let found = Double(try run.update().loss)
      #expect(abs(found - loss) < (i == 0 ? 1e-5 : 1e-4), "after \(i) updates: \(found)")
    }
  }
}

/// How far an fp32 gradient may be from the exact one: a part of the tensor's largest element, and a floor.
///
/// All were found within 1e-5 of it plus 3e-7; other CPUs round otherwise.
enum GradientLimit {
  static let relative = 5e-5
  static let absolute = 1e-6
}
