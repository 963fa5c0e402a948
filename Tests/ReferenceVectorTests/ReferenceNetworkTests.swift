import Models
import ReferenceImplementation
import Tensors
import Testing

/// The network against its definition in Double (`ReferenceWideResNet`), every element of every gradient.
@Suite struct ReferenceNetworkTests {
  private static let images = ModelVectors.images.map(Double.init)
  private static let labels = ModelVectors.labels.map(Int.init)

  private func tensors(_ store: ParameterStore) -> ReferenceWideResNet.Tensors {
    Dictionary(
      uniqueKeysWithValues: store.layout.parameters.map { ($0.name, store[$0].map(Double.init)) })
  }

  /// The definition itself agrees with NumPy, so that it can be trusted where NumPy's vectors do not reach.
  @Test func theDefinitionAgreesWithTheVectors() throws {
    let expected = try ModelVectors(widenFactor: 1)
    let run = try VectorRun(widenFactor: 1)
    let found = ReferenceWideResNet(blocks: 3, widenFactor: 1)(
      Self.images, labels: Self.labels, tensors(run.model.parameters))
    // Parameters are rounded to fp32 here and not there.
    #expect(abs(found.loss - expected.losses[0]) < 1e-6)
    for (parameter, gradient) in zip(run.model.graph.parameterLayout.parameters, expected.gradients) {
      let values = try #require(found.gradients[parameter.name])
      let largest = gradient.samples.map { abs($0.value) }.max() ?? 0
      for (index, value) in gradient.samples {
        #expect(abs(values[index] - value) <= 2e-5 * largest + 1e-9, "\(parameter.name)[\(index)]")
      }
    }
  }

  @Test(arguments: [(22, 1), (16, 1), (10, 2)])
  func everyElementOfEveryGradient(depth: Int, widenFactor: Int) throws {
    let run = try VectorRun(depth: depth, widenFactor: widenFactor)
    let expected = ReferenceWideResNet(blocks: (depth - 4) / 6, widenFactor: widenFactor)(
      Self.images, labels: Self.labels, tensors(run.model.parameters))
    let found = try run.update()
    #expect(abs(Double(found.loss) - expected.loss) < 1e-5)
    for (i, logit) in expected.logits.enumerated() {
      #expect(abs(Double(run.step.logits[i]) - logit) < 2e-5)
    }
    #expect(expected.gradients.count == run.model.graph.parameterLayout.parameters.count)
    for parameter in run.model.graph.parameterLayout.parameters {
      let exact = try #require(expected.gradients[parameter.name])
      let largest = exact.map(abs).max() ?? 0
      let worst = zip(run.step.gradients[parameter], exact).map { abs(Double($0) - $1) }.max() ?? 0
      #expect(worst <= GradientLimit.relative * largest + GradientLimit.absolute, "\(parameter.name): \(worst)")
    }
    for (name, norm) in expected.statistics {
      for (suffix, values, start) in [("running_mean", norm.mean, 0.0), ("running_var", norm.variance, 1.0)] {
        let parameter = try #require(run.model.graph.statisticsLayout["\(name).\(suffix)"])
        let scale = values.map(abs).max() ?? 0
        for (c, value) in values.enumerated() {
          let exact = 0.9 * start + 0.1 * value
          #expect(abs(Double(run.model.runningStatistics[parameter][c]) - exact) <= 1e-5 * scale, "\(name)")
        }
      }
    }
  }
}
