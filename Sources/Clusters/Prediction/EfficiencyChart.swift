import Foundation

/// A chart of efficiency over ranks, as SVG.
public struct EfficiencyChart: Sendable {
  /// A line of a subplot.
  public struct Series: Sendable {
    /// Its name, written at its end.
    public let name: String
    /// Ranks and efficiency, 0 … 1, by ascending ranks.
    public let points: [(ranks: Int, efficiency: Double)]

    /// Creates a line.
    public init(name: String, points: [(ranks: Int, efficiency: Double)]) {
      self.name = name
      self.points = points
    }
  }

  /// A coordinate system with lines.
  public struct Subplot: Sendable {
    /// The text above it.
    public let title: String
    /// Its lines.
    public let series: [Series]

    /// Creates a subplot.
    public init(title: String, series: [Series]) {
      self.title = title
      self.series = series
    }
  }

  private static let width = 470.0
  private static let height = 300.0
  private static let left = 62.0
  private static let top = 92.0
  private static let gap = 104.0
  // Okabe and Ito's palette, which color-blind readers can distinguish.
  private static let colors = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]

  private let title: String
  private let subtitle: String
  private let subplots: [Subplot]

  /// Creates a chart.
  ///
  /// - Parameters:
  ///   - title: The heading.
  ///   - subtitle: The conditions of the prediction.
  ///   - subplots: From left to right.
  public init(title: String, subtitle: String, subplots: [Subplot]) {
    self.title = title
    self.subtitle = subtitle
    self.subplots = subplots
  }

  /// The chart as an SVG document.
  public var svg: String {
    let count = Double(subplots.count)
    let width = Self.left + count * Self.width + (count - 1) * Self.gap + 92
    let height = Self.top + Self.height + 62
    var lines = [
      #"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \#(number(width)) \#(number(height))" "#
        + #"width="\#(number(width))" height="\#(number(height))" "#
        + #"font-family="Helvetica, Arial, 'Liberation Sans', sans-serif" font-size="13" fill="darkslategray">"#,
      #"<rect width="100%" height="100%" fill="white"/>"#,
      #"<text x="\#(number(Self.left))" y="30" font-size="19" font-weight="bold" fill="black">\#(escaped(title))</text>"#,
      #"<text x="\#(number(Self.left))" y="51" fill="dimgray">\#(escaped(subtitle))</text>"#,
    ]
    for (i, subplot) in subplots.enumerated() {
      let x = Self.left + Double(i) * (Self.width + Self.gap)
      lines.append(#"<g transform="translate(\#(number(x)),\#(number(Self.top)))">"#)
      lines += draw(subplot)
      lines.append("</g>")
    }
    return (lines + ["</svg>"]).joined(separator: "\n") + "\n"
  }

  private func draw(_ subplot: Subplot) -> [String] {
    let ranks = Set(subplot.series.flatMap { $0.points.map(\.ranks) }).sorted()
    let (first, last) = (log2(Double(ranks.first ?? 1)), log2(Double(ranks.last ?? 2)))
    func x(_ ranks: Int) -> Double { (log2(Double(ranks)) - first) / max(last - first, 1e-9) * Self.width }
    func y(_ efficiency: Double) -> Double { Self.height * (1 - min(efficiency, 1.05) / 1.05) }
    var lines = [
      #"<text x="0" y="-14" font-size="14" font-weight="bold" fill="black">\#(escaped(subplot.title))</text>"#
    ]
    for percent in stride(from: 0, through: 100, by: 20) {
      let height = number(y(Double(percent) / 100))
      let color = percent == 0 ? "#888" : "#e4e4e4"
      lines.append(#"<line x1="0" x2="\#(number(Self.width))" y1="\#(height)" y2="\#(height)" stroke="\#(color)"/>"#)
      lines.append(#"<text x="-9" y="\#(height)" dy="0.35em" text-anchor="end">\#(percent) %</text>"#)
    }
    // Labels closer than 30 units would overlap.
    var lastLabel = -100.0
    for count in ranks {
      let position = x(count)
      lines.append(
        #"<line x1="\#(number(position))" x2="\#(number(position))" y1="\#(number(Self.height))" "#
          + #"y2="\#(number(Self.height + 5))" stroke="gray"/>"#)
      guard position - lastLabel >= 30 else { continue }
      lastLabel = position
      lines.append(
        #"<text x="\#(number(position))" y="\#(number(Self.height + 21))" text-anchor="middle">\#(count)</text>"#)
    }
    lines.append(
      #"<text x="\#(number(Self.width / 2))" y="\#(number(Self.height + 45))" text-anchor="middle" fill="dimgray">ranks</text>"#
    )
    var labels: [(y: Double, x: Double, name: String, color: String)] = []
    for (i, series) in subplot.series.enumerated() {
      guard let end = series.points.last else { continue }
      let color = Self.colors[i % Self.colors.count]
      let points = series.points.map { "\(number(x($0.ranks))),\(number(y($0.efficiency)))" }.joined(separator: " ")
      lines.append(
        #"<polyline points="\#(points)" fill="none" stroke="\#(color)" stroke-width="2.5" stroke-linejoin="round"/>"#)
      for point in series.points {
        lines.append(
          #"<circle cx="\#(number(x(point.ranks)))" cy="\#(number(y(point.efficiency)))" r="3.2" fill="\#(color)"/>"#)
      }
      labels.append((y(end.efficiency), x(end.ranks) + 10, series.name, color))
    }
    // The names of lines that end at the same point must not overlap.
    labels.sort { $0.y < $1.y }
    for i in labels.indices.dropFirst() where labels[i].y < labels[i - 1].y + 16 { labels[i].y = labels[i - 1].y + 16 }
    if let last = labels.indices.last { labels[last].y = min(labels[last].y, Self.height - 6) }
    for i in labels.indices.dropLast().reversed() where labels[i].y > labels[i + 1].y - 16 {
      labels[i].y = labels[i + 1].y - 16
    }
    for label in labels {
      lines.append(
        #"<text x="\#(number(label.x))" y="\#(number(label.y))" dy="0.35em" font-weight="bold" "#
          + #"fill="\#(label.color)">\#(escaped(label.name))</text>"#)
    }
    return lines
  }

  /// Returns a number with at most one decimal.
  private func number(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    let sign = tenths < 0 ? "-" : ""
    let rest = abs(tenths) % 10
    return "\(sign)\(abs(tenths) / 10)" + (rest == 0 ? "" : ".\(rest)")
  }

  private func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
  }
}
