/// A point of a chart in units of the data.
public struct ChartPoint: Hashable, Sendable {
  /// The horizontal coordinate, for example a step.
  public var x: Double
  /// The vertical coordinate, for example a loss.
  public var y: Double

  /// Creates a point.
  public init(_ x: Double, _ y: Double) {
    self.x = x
    self.y = y
  }
}

/// The reduction of long series to what a chart of limited width can show.
public enum Thinning {
  /// Returns the lowest and the highest point of every column, and the first and the last point of the series.
  ///
  /// A column is one of equally wide intervals of x. Drawn at that width, the line covers the same pixels' heights as the
  /// whole series, because no extreme is lost. The result is a subsequence of the input.
  ///
  /// - Parameters:
  ///   - points: By ascending x; points that are not finite are dropped.
  ///   - columnCount: The number of columns, at least 1.
  /// - Returns: At most 2·`columnCount` + 2 points, or all finite points if they are no more than that.
  public static func extremes(_ points: [ChartPoint], columnCount: Int) -> [ChartPoint] {
    precondition(columnCount > 0, "a chart needs at least one column")
    let points = points.filter { $0.x.isFinite && $0.y.isFinite }
    guard points.count > 2 * columnCount + 2, let first = points.first, let last = points.last else { return points }
    var kept: [Int] = [0]
    for range in columns(of: points, from: first.x, to: last.x, columnCount) {
      guard let lowest = range.min(by: { points[$0].y < points[$1].y }),
        let highest = range.max(by: { points[$0].y < points[$1].y })
      else { continue }
      kept += [min(lowest, highest), max(lowest, highest)]
    }
    kept.append(points.count - 1)
    // A point may be the lowest, the highest and the first at once.
    return kept.indices.filter { $0 == 0 || kept[$0] != kept[$0 - 1] }.map { points[kept[$0]] }
  }

  /// Returns the mean point of every column that has points.
  ///
  /// - Parameters:
  ///   - points: By ascending x; points that are not finite are dropped.
  ///   - columnCount: The number of columns, at least 1.
  /// - Returns: At most `columnCount` points, or all finite points if they are no more than that.
  public static func means(_ points: [ChartPoint], columnCount: Int) -> [ChartPoint] {
    precondition(columnCount > 0, "a chart needs at least one column")
    let points = points.filter { $0.x.isFinite && $0.y.isFinite }
    guard points.count > columnCount, let first = points.first, let last = points.last else { return points }
    return columns(of: points, from: first.x, to: last.x, columnCount).map { range in
      let sum = points[range].reduce(ChartPoint(0, 0)) { ChartPoint($0.x + $1.x, $0.y + $1.y) }
      return ChartPoint(sum.x / Double(range.count), sum.y / Double(range.count))
    }
  }

  /// The ranges of indices of all columns that have points.
  private static func columns(
    of points: [ChartPoint], from first: Double, to last: Double, _ columnCount: Int
  ) -> [Range<Int>] {
    let width = max((last - first) / Double(columnCount), .leastNonzeroMagnitude)
    var ranges: [Range<Int>] = []
    var start = 0
    while start < points.count {
      let column = min(Int((points[start].x - first) / width), columnCount - 1)
      var end = start + 1
      while end < points.count, min(Int((points[end].x - first) / width), columnCount - 1) == column { end += 1 }
      ranges.append(start..<end)
      start = end
    }
    return ranges
  }
}
