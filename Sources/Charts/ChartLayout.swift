/// The places of a chart's parts in pixels: everything that ``ChartFigure`` draws, as numbers.
public struct ChartLayout: Sendable {
  /// A rectangle; y grows downwards.
  public struct Rectangle: Hashable, Sendable {
    /// The left edge.
    public let x: Double
    /// The upper edge.
    public let y: Double
    /// The width.
    public let width: Double
    /// The height.
    public let height: Double
  }

  /// An entry of the legend: a stroke, then a name.
  public struct LegendEntry: Hashable, Sendable {
    /// The left end of the stroke.
    public let x: Double
    /// The baseline's height.
    public let y: Double
    /// The name, shortened if it is long.
    public let name: String
    /// The line's style; `nil` for the count of lines that have no entry.
    public let style: LineStyle?
  }

  /// The size of tick labels and names.
  public static let fontSize = 13.0
  /// The length of a legend entry's stroke.
  static let strokeLength = 22.0
  /// The average width of a character, as a share of the font size.
  ///
  /// Sans-serif fonts lie between 0.5 and 0.58.
  private static let characterWidth = 0.58
  private static let legendLimit = 16
  private static let nameLimit = 36

  /// The area of the data.
  public let plot: Rectangle
  /// The legend; empty if there is only one line.
  public let legend: [LegendEntry]
  /// The height of the title's baseline.
  public let titleBaseline = 18.0
  /// Whether there are title and legend.
  public let hasHeading: Bool
  private let chart: Chart

  /// Lays out a chart.
  ///
  /// - Parameters:
  ///   - chart: The chart.
  ///   - width: The width of everything, in pixels.
  ///   - plotHeight: The height of the plot, in pixels; title, legend and labels are added.
  ///   - hasHeading: Whether there are title and legend; a page may have its own.
  public init(_ chart: Chart, width: Double, plotHeight: Double, hasHeading: Bool = true) {
    self.chart = chart
    self.hasHeading = hasHeading
    let widest = chart.y.ticks.map { Self.width(of: $0.label) }.max() ?? 0
    let left = max(widest + 12, 34)
    let named = chart.series.filter { !$0.isPale }
    var entries: [LegendEntry] = []
    var (x, y) = (0.0, titleBaseline + 24)
    func add(_ name: String, _ style: LineStyle?) {
      let length = (style == nil ? 0 : Self.strokeLength + 6) + Self.width(of: name)
      if x > 0 && x + length > width { (x, y) = (0, y + 20) }
      entries.append(LegendEntry(x: x, y: y, name: name, style: style))
      x += length + 18
    }
    if hasHeading && named.count > 1 {
      for series in named.prefix(Self.legendLimit) { add(Self.shortened(series.name), series.style) }
      if named.count > Self.legendLimit { add("and \(named.count - Self.legendLimit) more", nil) }
    }
    legend = entries
    let top = hasHeading ? (entries.last?.y ?? titleBaseline) + 34 : 28
    plot = Rectangle(x: left, y: top, width: max(width - left - 14, 40), height: plotHeight)
  }

  /// The height of everything: title, legend, plot, ticks and the label of x.
  public var height: Double { plot.y + plot.height + 46 }

  /// The pixel column of a value on the horizontal axis.
  public func x(_ value: Double) -> Double { plot.x + chart.x.fraction(of: value) * plot.width }

  /// The pixel row of a value on the vertical axis; larger values are higher.
  public func y(_ value: Double) -> Double { plot.y + (1 - chart.y.fraction(of: value)) * plot.height }

  /// The ticks of the horizontal axis, and whether each has room for its label.
  public var xTicks: [(tick: Axis.Tick, isLabelled: Bool)] {
    var end = -Double.infinity
    return chart.x.ticks.map { tick in
      let half = Self.width(of: tick.label) / 2
      let fits = x(tick.value) - half >= end + 8
      if fits { end = x(tick.value) + half }
      return (tick, fits)
    }
  }

  /// The estimated width of a text at ``fontSize``.
  static func width(of text: String) -> Double { Double(text.count) * characterWidth * fontSize }

  private static func shortened(_ name: String) -> String {
    name.count <= nameLimit ? name : name.prefix(nameLimit / 2) + "…" + name.suffix(nameLimit / 2 - 1)
  }
}
