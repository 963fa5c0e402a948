import Charts
import Testing

/// Thinned series keep what a chart shows.
@Suite struct ThinningTests {
  /// A reproducible sequence of values without structure.
  private static func noise(_ count: Int) -> [ChartPoint] {
    var state: UInt64 = 1
    return (0..<count).map { i in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return ChartPoint(Double(i), Double(state >> 40) / 1000)
    }
  }

  /// The index of the column of a point, by the definition: equally wide intervals, the last one closed.
  private static func column(_ point: ChartPoint, _ points: [ChartPoint], _ count: Int) -> Int {
    let width = (points[points.count - 1].x - points[0].x) / Double(count)
    return min(Int((point.x - points[0].x) / width), count - 1)
  }

  @Test(arguments: [(1000, 10), (1000, 97), (100_000, 600)])
  func everyColumnKeepsItsExtremes(count: Int, columnCount: Int) {
    let points = Self.noise(count)
    let thinned = Thinning.extremes(points, columnCount: columnCount)
    #expect(thinned.count <= 2 * columnCount + 2)
    #expect(thinned.first == points.first && thinned.last == points.last)
    #expect(zip(thinned, thinned.dropFirst()).allSatisfy { $0.x < $1.x })
    let all = Set(points)
    #expect(thinned.allSatisfy(all.contains))
    var bounds = [ClosedRange<Double>?](repeating: nil, count: columnCount)
    var kept = bounds
    for point in points { Self.extend(&bounds[Self.column(point, points, columnCount)], by: point.y) }
    for point in thinned { Self.extend(&kept[Self.column(point, points, columnCount)], by: point.y) }
    #expect(bounds == kept)
  }

  private static func extend(_ range: inout ClosedRange<Double>?, by value: Double) {
    range = range.map { min($0.lowerBound, value)...max($0.upperBound, value) } ?? value...value
  }

  @Test func oneSpikeAmongManyStepsSurvives() {
    var points = (1...100_000).map { ChartPoint(Double($0), 1) }
    points[54_321].y = 9
    points[77_777].y = -3
    let thinned = Thinning.extremes(points, columnCount: 200)
    #expect(thinned.contains(points[54_321]) && thinned.contains(points[77_777]))
  }

  @Test func shortSeriesStayAsTheyAre() {
    let points = Self.noise(22)
    #expect(Thinning.extremes(points, columnCount: 10) == points)
    #expect(Thinning.extremes([], columnCount: 10).isEmpty && Thinning.means([], columnCount: 10).isEmpty)
    #expect(Thinning.means(Array(points.prefix(10)), columnCount: 10) == Array(points.prefix(10)))
  }

  @Test func pointsThatAreNotFiniteAreDropped() {
    let points = [
      ChartPoint(1, 2), ChartPoint(2, .nan), ChartPoint(3, .infinity), ChartPoint(.nan, 1), ChartPoint(4, 5),
    ]
    let finite = [ChartPoint(1, 2), ChartPoint(4, 5)]
    #expect(Thinning.extremes(points, columnCount: 1) == finite)
    #expect(Thinning.means(points, columnCount: 5) == finite)
  }

  /// Every point has the same x: one column, whose width is zero.
  @Test func pointsAtOnePlace() {
    let points = (0..<10).map { ChartPoint(7, Double($0)) }
    #expect(Thinning.extremes(points, columnCount: 2) == [points[0], points[9]])
    #expect(Thinning.means(points, columnCount: 2) == [ChartPoint(7, 4.5)])
  }

  @Test func meansAreThoseOfTheColumns() {
    let points = Self.noise(1000)
    let means = Thinning.means(points, columnCount: 10)
    #expect(means.count == 10)
    for (column, mean) in means.enumerated() {
      let members = points.filter { Self.column($0, points, 10) == column }
      #expect(abs(mean.x - members.reduce(0) { $0 + $1.x } / Double(members.count)) < 1e-9)
      #expect(abs(mean.y - members.reduce(0) { $0 + $1.y } / Double(members.count)) < 1e-9)
    }
  }
}
