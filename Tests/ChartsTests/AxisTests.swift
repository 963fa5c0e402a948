import Charts
import Testing

/// Ranges, ticks and labels of axes.
@Suite struct AxisTests {
  @Test(arguments: [
    ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ([0.74, 2.46], ["0.5", "1.0", "1.5", "2.0", "2.5"]),
    ([1, 5000], ["0", "1000", "2000", "3000", "4000", "5000"]),
    ([0, 100_000], ["0", "20,000", "40,000", "60,000", "80,000", "100,000"]),
    ([-3, 4], ["-4", "-2", "0", "2", "4"]),
    ([0.001, 0.0011], ["0.00100", "0.00102", "0.00104", "0.00106", "0.00108", "0.00110"]),
  ])
  func ticksAreFewAndRound(values: [Double], labels: [String]) {
    let axis = Axis("", covering: values)
    #expect(axis.ticks.map(\.label) == labels)
    #expect(axis.range.lowerBound <= values[0] && axis.range.upperBound >= values[1])
    for tick in axis.ticks { #expect(abs(tick.value - (Double(tick.label.filter { $0 != "," }) ?? .nan)) < 1e-9) }
  }

  @Test func aTightAxisEndsAtTheData() {
    let axis = Axis("steps", covering: [1, 4987], isTight: true)
    #expect(axis.range == 1...4987)
    #expect(axis.ticks.map(\.value) == [1000, 2000, 3000, 4000])
    #expect(axis.fraction(of: 1) == 0 && axis.fraction(of: 4987) == 1 && axis.fraction(of: 2494) == 0.5)
  }

  @Test func percentages() {
    #expect(
      Axis("", covering: [0.1, 0.75], notation: .percent).ticks.map(\.label) == ["0 %", "20 %", "40 %", "60 %", "80 %"])
    let fine = Axis("", covering: [0.931, 0.934], notation: .percent)
    for tick in fine.ticks {
      #expect(abs((Double(tick.label.dropLast(2)) ?? .nan) / 100 - tick.value) < 1e-9, "\(tick)")
    }
  }

  @Test(arguments: [[], [.nan], [3.0], [0.0, 0.0], [-5.0, .infinity]])
  func unusualDataHaveAnAxis(values: [Double]) {
    let axis = Axis("", covering: values)
    #expect(axis.range.lowerBound < axis.range.upperBound && (2...6).contains(axis.ticks.count))
    #expect(axis.ticks.allSatisfy { axis.range.contains($0.value) && $0.value.isFinite })
  }

  @Test func zeroIsIncludedOnRequest() {
    #expect(Axis("", covering: [80, 90], includesZero: true).range == 0...100)
    #expect(Axis("", covering: [80, 90]).range == 80...90)
  }

  @Test func logarithmicAxesHaveATickPerValue() {
    let axis = Axis("ranks", logarithmicTicksAt: [1, 2, 8, 2, 64])
    #expect(axis.ticks.map(\.value) == [1, 2, 8, 64])
    for (value, fraction) in [(1.0, 0.0), (2, 1.0 / 6), (8, 0.5), (64, 1)] {
      #expect(abs(axis.fraction(of: value) - fraction) < 1e-12)
    }
    #expect(Axis("", logarithmicTicksAt: []).range.lowerBound == 1)
  }

  @Test func numbersAreWrittenWithoutTheLocale() {
    #expect(NumberText.fixed(1234567.891, decimals: 2) == "1,234,567.89")
    #expect(NumberText.fixed(-12345, decimals: 0) == "-12,345" && NumberText.fixed(-0.001, decimals: 1) == "0.0")
    #expect(NumberText.fixed(.nan, decimals: 1) == "–" && NumberText.fixed(9999, decimals: 0) == "9999")
    #expect(
      NumberText.coordinate(-0.04) == "0" && NumberText.coordinate(-3.25) == "-3.3" && NumberText.coordinate(12) == "12"
    )
  }
}
