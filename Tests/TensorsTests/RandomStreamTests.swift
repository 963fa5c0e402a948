import Tensors
import Testing

/// Pinned numbers, unrelated streams, and distributions.
@Suite struct RandomStreamTests {
  /// Computed independently of this code; if one changes, earlier runs can no longer be reproduced.
  @Test func numbersArePinned() {
    let stream = RandomStream(seed: 0, purpose: "test")
    #expect(
      [0, 1, 2].map { stream.bits($0) } == [
        11_978_878_635_513_042_584, 13_001_337_219_389_829_272, 14_438_955_716_330_897_071,
      ])
    #expect(RandomStream(seed: 7, purpose: "test", step: 3).bits(1_000_000) == 8_086_809_796_225_166_774)
  }

  @Test func seedPurposeAndStepSelectTheStream() {
    let streams = [
      RandomStream(seed: 0, purpose: "a"), RandomStream(seed: 1, purpose: "a"),
      RandomStream(seed: 0, purpose: "b"), RandomStream(seed: 0, purpose: "a", step: 1),
      RandomStream(seed: 0, purpose: "ab"), RandomStream(seed: 0, purpose: ""),
    ]
    let numbers = streams.flatMap { stream in (0..<UInt64(1000)).map { stream.bits($0) } }
    #expect(Set(numbers).count == numbers.count)
  }

  @Test(arguments: [1, 2, 10, 1024, 1000])
  func integersAreUniform(bound: Int) {
    let stream = RandomStream(seed: 5, purpose: "dice")
    let sampleCount = 200 * bound
    var counts = [Int](repeating: 0, count: bound)
    for i in 0..<UInt64(sampleCount) { counts[stream.integer(i, below: bound)] += 1 }
    // χ² with bound − 1 degrees of freedom must be within five standard deviations; the seed is fixed.
    let statistic = counts.reduce(0.0) { $0 + Double(($1 - 200) * ($1 - 200)) / 200 }
    #expect(abs(statistic - Double(bound - 1)) <= 5 * (2 * Double(bound)).squareRoot())
  }

  @Test func uniformNumbersCoverTheUnitInterval() {
    let stream = RandomStream(seed: 6, purpose: "uniform")
    let values = (0..<UInt64(50_000)).map { stream.uniform($0) }.sorted()
    #expect((values.first ?? -1) >= 0 && (values.last ?? 1) < 1)
    for (i, value) in values.enumerated() { #expect(abs(value - Double(i) / 50_000) < 0.01) }
  }

  @Test func anOddNumberOfNormalNumbersIsFilled() {
    let stream = RandomStream(seed: 8, purpose: "normal")
    let (short, long) = (AlignedBuffer<Float>(count: 7), AlignedBuffer<Float>(count: 8))
    stream.fillNormal(short.elements, standardDeviation: 2)
    stream.fillNormal(long.elements, standardDeviation: 2)
    #expect(Array(short.elements) == Array(long.elements.prefix(7)))
    #expect(short.elements.allSatisfy { $0 != 0 && abs($0) < 12 })
  }
}
