/// One or several charts in rows, with a heading, as SVG text.
///
/// A pure function of its data. Every text is escaped.
public struct ChartFigure: Sendable {
  /// The heading; empty for none.
  public let title: String
  /// The conditions under which the data were taken; empty for none.
  public let subtitle: String
  /// The charts, row by row from left to right.
  public let charts: [Chart]
  private let columnCount: Int
  private let chartWidth: Double
  private let plotHeight: Double

  private static let margin = 24.0
  private static let gap = 36.0

  /// Creates a figure.
  ///
  /// - Parameters:
  ///   - title: The heading.
  ///   - subtitle: The conditions under which the data were taken.
  ///   - charts: Row by row from left to right.
  ///   - columnCount: The charts per row, at least 1.
  ///   - chartWidth: The width of one chart, in pixels.
  ///   - plotHeight: The height of one chart without title and labels, in pixels.
  public init(
    title: String = "", subtitle: String = "", charts: [Chart], columnCount: Int = 2, chartWidth: Double = 560,
    plotHeight: Double = 280
  ) {
    precondition(columnCount > 0, "a figure needs at least one column")
    self.title = title
    self.subtitle = subtitle
    self.charts = charts
    self.columnCount = min(columnCount, max(charts.count, 1))
    self.chartWidth = chartWidth
    self.plotHeight = plotHeight
  }

  /// The figure as a separate document, light or dark as the reader prefers.
  public var svg: String {
    let (rows, width, height) = placements
    var lines = [
      #"<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 \#(number(width)) \#(number(height))" "#
        + #"width="\#(number(width))" height="\#(number(height))" font-size="\#(number(ChartLayout.fontSize))" "#
        + #"font-family="Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif">"#,
      "<style>\n\(ChartTheme.documentRules)\n</style>",
      #"<rect class="background" width="100%" height="100%"/>"#,
    ]
    if !title.isEmpty {
      lines.append(
        #"<text class="title" x="\#(number(Self.margin))" y="34" font-size="19">\#(title.xmlEscaped)</text>"#)
    }
    if !subtitle.isEmpty {
      lines.append(#"<text x="\#(number(Self.margin))" y="56">\#(subtitle.xmlEscaped)</text>"#)
    }
    for placement in rows {
      lines.append(#"<g transform="translate(\#(number(placement.x)),\#(number(placement.y)))">"#)
      lines += Self.elements(placement.chart, placement.layout)
      lines.append("</g>")
    }
    return (lines + ["</svg>"]).joined(separator: "\n") + "\n"
  }

  /// One chart as an element of a page that has ``ChartTheme/variables`` and ``ChartTheme/pageRules``.
  ///
  /// - Parameters:
  ///   - chart: The chart.
  ///   - width: The width, in pixels.
  ///   - plotHeight: The height of the plot, in pixels.
  ///   - hasHeading: Whether the element has title and legend.
  /// - Returns: An `svg` element with a label for screen readers.
  public static func element(_ chart: Chart, width: Double = 560, plotHeight: Double = 260, hasHeading: Bool = true)
    -> String
  {
    let layout = ChartLayout(chart, width: width, plotHeight: plotHeight, hasHeading: hasHeading)
    let head =
      #"<svg class="chart" role="img" aria-label="\#(chart.title.xmlEscaped)" "#
      + #"viewBox="0 0 \#(layout.number(width)) \#(layout.number(layout.height))" "#
      + #"font-size="\#(layout.number(ChartLayout.fontSize))">"#
    return ([head] + elements(chart, layout) + ["</svg>"]).joined(separator: "\n")
  }

  /// The places of all charts, and the size of the figure.
  private var placements: (rows: [(chart: Chart, layout: ChartLayout, x: Double, y: Double)], Double, Double) {
    var placed: [(chart: Chart, layout: ChartLayout, x: Double, y: Double)] = []
    var y = title.isEmpty ? Self.margin : (subtitle.isEmpty ? 54 : 78)
    for start in stride(from: 0, to: charts.count, by: columnCount) {
      let row = charts[start..<min(start + columnCount, charts.count)].map {
        ($0, ChartLayout($0, width: chartWidth, plotHeight: plotHeight))
      }
      let height = row.map(\.1.height).max() ?? 0
      for (column, (chart, layout)) in row.enumerated() {
        let x = Self.margin + Double(column) * (chartWidth + Self.gap)
        // Charts of a row share the baseline of x, whatever the heights of their legends.
        placed.append((chart, layout, x, y + height - layout.height))
      }
      y += height + Self.gap / 2
    }
    let width = 2 * Self.margin + Double(columnCount) * (chartWidth + Self.gap) - Self.gap
    let text = max(ChartLayout.width(of: subtitle), 1.5 * ChartLayout.width(of: title)) + 2 * Self.margin
    return (placed, max(width, text), y)
  }

  private func number(_ value: Double) -> String { NumberText.coordinate(value) }
}

extension ChartLayout {
  fileprivate func number(_ value: Double) -> String { NumberText.coordinate(value) }
}

extension ChartFigure {
  /// The elements of one chart.
  private static func elements(_ chart: Chart, _ layout: ChartLayout) -> [String] {
    (layout.hasHeading ? title(chart, layout) : []) + axes(chart, layout) + chart.series.flatMap { line($0, layout) }
  }

  private static func title(_ chart: Chart, _ layout: ChartLayout) -> [String] {
    let baseline = layout.number(layout.titleBaseline)
    var lines = [#"<text class="title" x="0" y="\#(baseline)" font-size="15">\#(chart.title.xmlEscaped)</text>"#]
    for entry in layout.legend {
      let start = entry.style == nil ? entry.x : entry.x + ChartLayout.strokeLength + 6
      if let style = entry.style {
        lines.append(
          #"<path class="line \#(style.classes)" d="M\#(layout.number(entry.x)) \#(layout.number(entry.y - 4))h"#
            + #"\#(layout.number(ChartLayout.strokeLength))"/>"#)
      }
      lines.append(
        #"<text class="name" x="\#(layout.number(start))" y="\#(layout.number(entry.y))">\#(entry.name.xmlEscaped)</text>"#
      )
    }
    return lines
  }

  private static func axes(_ chart: Chart, _ layout: ChartLayout) -> [String] {
    let (plot, number) = (layout.plot, layout.number)
    let (left, bottom) = (number(plot.x), number(plot.y + plot.height))
    var lines: [String] = []
    for tick in chart.y.ticks {
      let y = number(layout.y(tick.value))
      lines.append(#"<path class="grid" d="M\#(left) \#(y)h\#(number(plot.width))"/>"#)
      lines.append(
        #"<text x="\#(number(plot.x - 8))" y="\#(y)" dy=".35em" text-anchor="end">\#(tick.label.xmlEscaped)</text>"#)
    }
    lines.append(#"<path class="axis" d="M\#(left) \#(bottom)h\#(number(plot.width))"/>"#)
    for (tick, isLabelled) in layout.xTicks {
      let x = number(layout.x(tick.value))
      lines.append(#"<path class="axis" d="M\#(x) \#(bottom)v5"/>"#)
      guard isLabelled else { continue }
      lines.append(
        #"<text x="\#(x)" y="\#(number(plot.y + plot.height + 20))" text-anchor="middle">\#(tick.label.xmlEscaped)</text>"#
      )
    }
    lines.append(#"<text x="0" y="\#(number(plot.y - 12))">\#(chart.y.label.xmlEscaped)</text>"#)
    lines.append(
      #"<text x="\#(number(plot.x + plot.width))" y="\#(number(plot.y + plot.height + 40))" text-anchor="end">"#
        + "\(chart.x.label.xmlEscaped)</text>")
    return lines
  }

  private static func line(_ series: Chart.Series, _ layout: ChartLayout) -> [String] {
    guard let first = series.points.first else { return [] }
    let number = layout.number
    let points = series.points.map { (number(layout.x($0.x)), number(layout.y($0.y))) }
    let path = "M" + points.map { "\($0) \($1)" }.joined(separator: "L")
    let pale = series.isPale ? " pale" : ""
    var lines: [String] = []
    if series.points.count > 1 { lines.append(#"<path class="line\#(pale) \#(series.style.classes)" d="\#(path)"/>"#) }
    // A line of one point is invisible.
    if series.hasMarks || series.points.allSatisfy({ $0 == first }) {
      lines += points.map { #"<circle class="dot c\#(series.style.color)" cx="\#($0)" cy="\#($1)" r="3"/>"# }
    }
    return lines
  }
}

extension LineStyle {
  /// The CSS classes of a line.
  public var classes: String { "c\(color)" + (dash == 0 ? "" : " d\(dash)") }
}

extension String {
  /// The text as content or attribute of XML and HTML: `& < > " '` are replaced; control characters, which XML forbids,
  /// become U+FFFD.
  public var xmlEscaped: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case "\t", "\n", "\r": result.unicodeScalars.append(scalar)
      case _ where scalar.value < 0x20 || scalar.value == 0xFFFE || scalar.value == 0xFFFF: result += "\u{FFFD}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
