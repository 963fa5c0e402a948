import Support
import Testing

/// Divisions and square roots of eight lanes against those of scalars, bit by bit.
@Suite struct SIMD8ArithmeticTests {
  private static let numbers: [Float] = [
    0, -0.0, 1, 2, 3, 0.1, -0.1, 7e-10, .leastNormalMagnitude, .leastNonzeroMagnitude, .leastNormalMagnitude / 3,
    .greatestFiniteMagnitude, 1.000_000_1, 65_537, .infinity, .nan,
  ]

  @Test(arguments: numbers) func everyQuotientIsThatOfScalars(divisor: Float) {
    for start in stride(from: 0, to: Self.numbers.count, by: 8) {
      let dividends = SIMD8(Self.numbers[start..<start + 8])
      let found = dividends.divided(by: SIMD8(repeating: divisor))
      for lane in 0..<8 { expectEqual(found[lane], dividends[lane] / divisor) }
    }
  }

  @Test func everySquareRootIsThatOfScalars() {
    for start in stride(from: 0, to: Self.numbers.count, by: 8) {
      let numbers = SIMD8(Self.numbers[start..<start + 8])
      let found = numbers.squareRoots
      for lane in 0..<8 { expectEqual(found[lane], numbers[lane].squareRoot()) }
    }
  }

  /// Equal bits, or both NaN, whose sign and payload are no part of a result.
  private func expectEqual(_ found: Float, _ expected: Float, _ location: SourceLocation = #_sourceLocation) {
    #expect(
      found.bitPattern == expected.bitPattern || found.isNaN && expected.isNaN, "\(found), \(expected)",
      sourceLocation: location)
  }
}
