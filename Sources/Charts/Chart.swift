/// A coordinate system with lines: data, axes and a title; ``ChartLayout`` places it, ``ChartFigure`` draws it.
public struct Chart: Sendable {
  /// A line.
  public struct Series: Sendable {
    /// The name in the legend.
    public let name: String
    /// The points by ascending x; all are finite.
    public let points: [ChartPoint]
    /// The color and dash pattern.
    public let style: LineStyle
    /// Whether each point has a mark.
    public let hasMarks: Bool
    /// Whether the line is a pale background of another one; it has no entry in the legend.
    public let isPale: Bool

    /// Creates a line; points that are not finite are dropped.
    public init(
      _ name: String, _ points: [ChartPoint], style: LineStyle, hasMarks: Bool = false, isPale: Bool = false
    ) {
      self.name = name
      self.points = points.filter { $0.x.isFinite && $0.y.isFinite }
      self.style = style
      self.hasMarks = hasMarks
      self.isPale = isPale
    }
  }

  /// The text above the chart.
  public let title: String
  /// The horizontal axis.
  public let x: Axis
  /// The vertical axis.
  public let y: Axis
  /// The lines, from back to front.
  public let series: [Series]

  /// Creates a chart.
  public init(title: String, x: Axis, y: Axis, series: [Series]) {
    self.title = title
    self.x = x
    self.y = y
    self.series = series
  }
}

/// A color of the palette and a dash pattern; together they distinguish 28 lines.
public struct LineStyle: Hashable, Sendable {
  /// The index of the color in ``ChartTheme/lineColorCount`` colors.
  public let color: Int
  /// The index of the pattern in ``dashPatterns``; 0 is a solid line.
  public let dash: Int

  /// Lengths of dashes and gaps, in pixels, as SVG's `stroke-dasharray` writes them.
  public static let dashPatterns = ["", "7 4", "2 3", "9 3 2 3"]

  /// Creates the style of the line with an index, from 0: first all colors solid, then all dashed.
  public init(index: Int) {
    self.init(color: index, dash: index / ChartTheme.lineColorCount)
  }

  /// Creates a style; indices beyond the last repeat the first ones.
  public init(color: Int, dash: Int) {
    self.color = color % ChartTheme.lineColorCount
    self.dash = dash % Self.dashPatterns.count
  }
}
