import Optimizers
import Testing

/// The factor of clipping against `clip_grad_norm_`.
@Suite struct GradientClippingTests {
  @Test func everyElementIsThatOfPyTorch() throws {
    let lines = try PyTorchFixture("clipping.txt").lines
    #expect(lines.count == 6)
    for (number, words) in lines.enumerated() {
      let numbers = try PyTorchFixture.numbers(words, from: 1)
      let (maximum, norm, clipped) = (numbers[0], numbers[1], numbers[2...])
      let scale = GradientClipping.scale(norm: norm, maximumNorm: maximum)
      let gradients = PyTorchFixture.array(1).map { norm == 0 ? 0 : $0 }
      try #require(clipped.count == gradients.count)
      for (gradient, exact) in zip(gradients, clipped) {
        // Two roundings to fp32.
        #expect(abs(Double(scale * gradient) - exact) <= 1.2e-7 * abs(exact), "maximum \(maximum), line \(number)")
      }
    }
  }

  @Test func smallNormsAndZeroMaximaChangeNothing() {
    #expect(GradientClipping.scale(norm: 1e30, maximumNorm: 0) == 1)
    #expect(GradientClipping.scale(norm: 0, maximumNorm: 1) == 1)
    #expect(GradientClipping.scale(norm: 0.999, maximumNorm: 1) == 1)
    #expect(GradientClipping.scale(norm: 2, maximumNorm: 1) < 0.5)
  }

  @Test func aNormThatIsNotFiniteIsNotHidden() {
    #expect(GradientClipping.scale(norm: .infinity, maximumNorm: 1) == 0)
    #expect(GradientClipping.scale(norm: .nan, maximumNorm: 1).isNaN)
  }
}
