import Foundation
import Tensors
import Testing

/// Accuracy against the C library, and pinned results.
@Suite struct ReproducibleMathTests {
  private let stream = RandomStream(seed: 2, purpose: "arguments")

  @Test func exponential() {
    for i in 0..<UInt64(20_000) {
      let x = (stream.uniform(i) - 0.5) * 1400
      let exact = exp(x)
      #expect(abs(ReproducibleMath.exp(x) - exact) <= 4e-15 * exact, "exp \(x)")
    }
    #expect(ReproducibleMath.exp(0) == 1)
    #expect(ReproducibleMath.exp(-746) == 0 && ReproducibleMath.exp(-.infinity) == 0)
    #expect(ReproducibleMath.exp(711) == .infinity)
    #expect(ReproducibleMath.exp(.nan).isNaN)
  }

  @Test func logarithm() {
    for i in 0..<UInt64(20_000) {
      let x = exp((stream.uniform(i) - 0.5) * 1300)
      #expect(abs(ReproducibleMath.log(x) - log(x)) <= 1e-14 * abs(log(x)), "log \(x)")
    }
    #expect(ReproducibleMath.log(1) == 0)
    for x in [Double.leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude, 1.0.nextUp, 1.0.nextDown] {
      #expect(abs(ReproducibleMath.log(x) - log(x)) <= 1e-14 * abs(log(x)), "log \(x)")
    }
  }

  @Test func powers() {
    for exponent in [0, 1, 2, 3, 10, 1000, 65_537] {
      for base in [0.9, 0.999, 1, 2e-3] {
        let exact = pow(base, Double(exponent))
        #expect(abs(ReproducibleMath.power(base, exponent) - exact) <= 1e-11 * exact)
      }
    }
  }

  @Test func cosine() {
    for i in 0..<UInt64(20_000) {
      let x = (stream.uniform(i) - 0.5) * 4
      // πx of the C library's argument is rounded, by up to 4e-16.
      #expect(abs(ReproducibleMath.cos(piTimes: x) - cos(.pi * x)) <= 2e-15, "cos \(x)π")
      // Near its zeros, relative to the sine of a small argument.
      let small = x / 8
      let sine = sin(.pi * abs(small))
      let exact = 0.5 - abs(small)
      if 0.5 - exact == abs(small) {
        #expect(abs(ReproducibleMath.cos(piTimes: exact) - sine) <= 2e-15 * sine, "cos \(exact)π")
      }
      // The reduction is exact, so a period more does not change a bit.
      let coarse = (x * 1024).rounded() / 1024
      #expect(ReproducibleMath.cos(piTimes: coarse) == ReproducibleMath.cos(piTimes: coarse + 2_000_002))
      #expect(ReproducibleMath.cos(piTimes: coarse) == ReproducibleMath.cos(piTimes: -coarse))
    }
    let quarters = (0...8).map { ReproducibleMath.cos(piTimes: Double($0) / 2) }
    #expect(quarters == [1, 0, -1, 0, 1, 0, -1, 0, 1])
    #expect(ReproducibleMath.cos(piTimes: .nan).isNaN && ReproducibleMath.cos(piTimes: .infinity).isNaN)
  }

  /// If one changes, earlier runs can no longer be reproduced bitwise.
  @Test func resultsArePinned() {
    #expect(ReproducibleMath.exp(-3.7).bitPattern == 4_582_783_292_742_766_660)
    #expect(ReproducibleMath.log(0.3).bitPattern == 13_831_473_067_500_349_217)
    #expect(ReproducibleMath.power(0.999, 1234).bitPattern == 4_598_912_838_073_118_716)
  }
}
