import Tensors
import Testing

extension VectorRun {
  /// Makes the first step and compares everything that the vectors have of it, within the rounding of fp32.
  func compareFirstStep(with expected: ModelVectors) throws {
    #expect(model.graph.parameterCount == expected.parameterCount)
    let norm = model.parameters.elements.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    #expect(abs(norm - expected.parameterNorm) < 1e-4)

    let result = try update()
    #expect(abs(Double(result.loss) - expected.losses[0]) < 1e-5)
    #expect(abs(Double(result.gradientNorm) / expected.gradientNorm - 1) < 1e-5)
    // Logits are sums over pooled activations of order 1, after 22 layers of fp32: found at most 4e-6.
    for (i, logit) in expected.logits.enumerated() {
      #expect(abs(Double(step.logits[i]) - logit) < 2e-5, "logit \(i)")
    }
    try compareGradients(with: expected)
    compareStatistics(with: expected)
  }

  /// Every gradient: norm and sampled elements.
  private func compareGradients(with expected: ModelVectors) throws {
    let parameters = model.graph.parameterLayout.parameters
    try #require(parameters.count == expected.gradients.count)
    for (parameter, gradient) in zip(parameters, expected.gradients) {
      let values = step.gradients[parameter]
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

  private func compareStatistics(with expected: ModelVectors) {
    let names = model.graph.statisticsLayout.parameters
    let pairs = zip(expected.runningMeans, expected.runningVariances).flatMap { [$0, $1] }
    #expect(names.count == pairs.count)
    for (parameter, values) in zip(names, pairs) {
      for (c, value) in values.enumerated() {
        let found = Double(model.runningStatistics[parameter][c])
        // A mean may be near 0 where the activations are not: relative to the tensor's largest value.
        let scale = values.map(abs).max() ?? 0
        #expect(abs(found - value) < 1e-5 * scale, "\(parameter.name)[\(c)]")
      }
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
