import Charts
import Foundation
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// The geometry and the text of charts.
@Suite struct ChartFigureTests {
  private static func chart(_ names: [String] = ["a", "b"], title: String = "Loss") -> Chart {
    Chart(
      title: title, x: Axis("steps", covering: [0, 100], isTight: true), y: Axis("loss (nats)", covering: [0, 2]),
      series: names.enumerated().map { i, name in
        Chart.Series(name, [ChartPoint(0, 2), ChartPoint(50, 1), ChartPoint(100, 0)], style: LineStyle(index: i))
      })
  }

  /// The elements of an SVG document with their attributes, by XML's own parser.
  private final class Elements: NSObject, XMLParserDelegate {
    var all: [(name: String, attributes: [String: String])] = []
    var text = ""
    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) { all.append((name, attributes)) }
    func parser(_ parser: XMLParser, foundCharacters string: String) { text += string + "\n" }

    init(_ svg: String) throws {
      super.init()
      let parser = XMLParser(data: Data(svg.utf8))
      parser.delegate = self
      guard parser.parse() else { throw parser.parserError ?? CocoaError(.fileReadCorruptFile) }
    }
  }

  @Test func valuesMapToPixels() {
    let layout = ChartLayout(Self.chart(), width: 500, plotHeight: 200)
    let plot = layout.plot
    for (value, share) in [(0.0, 0.0), (25, 0.25), (50, 0.5), (100, 1)] {
      #expect(abs(layout.x(value) - (plot.x + share * plot.width)) < 1e-9)
    }
    for (value, share) in [(0.0, 1.0), (0.5, 0.75), (2, 0)] {
      #expect(abs(layout.y(value) - (plot.y + share * plot.height)) < 1e-9)
    }
    #expect(plot.height == 200 && plot.x + plot.width <= 500 && layout.height > plot.y + 200 + 40)
  }

  @Test func linesAreDrawnAtTheirPixels() throws {
    let chart = Self.chart()
    let layout = ChartLayout(chart, width: 500, plotHeight: 200)
    let elements = try Elements(ChartFigure.element(chart, width: 500, plotHeight: 200))
    let lines = elements.all.filter {
      ($0.attributes["class"] ?? "").hasPrefix("line") && $0.attributes["d"]?.contains("L") == true
    }
    #expect(lines.count == 2)
    for (line, series) in zip(lines, chart.series) {
      let numbers = (line.attributes["d"] ?? "").split { "ML ".contains($0) }.compactMap { Double($0) }
      let expected = series.points.flatMap { [layout.x($0.x), layout.y($0.y)] }
      #expect(numbers.count == expected.count)
      for (number, value) in zip(numbers, expected) { #expect(abs(number - value) <= 0.05 + 1e-9) }
    }
    #expect(lines.map { $0.attributes["class"] } == ["line c0", "line c1"])
  }

  /// The legend is above the plot, in rows within the width, and no two entries overlap.
  @Test(arguments: [2, 5, 16, 40])
  func theLegendCoversNothing(count: Int) {
    let names = (0..<count).map { "run \($0) with a long name of its own, say" }
    let layout = ChartLayout(Self.chart(names), width: 500, plotHeight: 200)
    #expect(layout.legend.count == min(count, 16) + (count > 16 ? 1 : 0))
    #expect(layout.legend.allSatisfy { $0.y < layout.plot.y - 20 && $0.y > layout.titleBaseline })
    for (entry, next) in zip(layout.legend, layout.legend.dropFirst()) {
      #expect(next.y > entry.y ? next.x == 0 : next.x > entry.x + 22 + 6.5 * Double(entry.name.count))
    }
    #expect(layout.legend.allSatisfy { $0.x + 28 + 7 * Double($0.name.count) <= 500 || $0.x == 0 })
    if count > 16 { #expect(layout.legend.last?.name == "and \(count - 16) more") }
  }

  @Test func aSingleLineNeedsNoLegend() {
    #expect(ChartLayout(Self.chart(["only"]), width: 500, plotHeight: 200).legend.isEmpty)
  }

  /// Labels of a logarithmic axis with many ticks are left out rather than overlap.
  @Test func tickLabelsDoNotOverlap() {
    let ranks = (0...20).map { Double(1 << $0) }
    let chart = Chart(
      title: "", x: Axis("ranks", logarithmicTicksAt: ranks), y: Axis("", covering: [0, 1]), series: [])
    let layout = ChartLayout(chart, width: 400, plotHeight: 100)
    var end = -Double.infinity
    for (tick, isLabelled) in layout.xTicks where isLabelled {
      let half = 3.7 * Double(tick.label.count)
      #expect(layout.x(tick.value) - half > end)
      end = layout.x(tick.value) + half
    }
    #expect(layout.xTicks.count == 21 && layout.xTicks.count(where: { $0.isLabelled }) > 3)
  }

  @Test(arguments: ["A & B", "<script>alert(1)</script>", "\"quoted\" 'name'", "../..", "a\u{0}b\u{1B}", "x ]]> y"])
  func textIsEscaped(name: String) throws {
    let figure = ChartFigure(title: name, subtitle: name, charts: [Self.chart([name, "b"], title: name)])
    for svg in [figure.svg, ChartFigure.element(Self.chart([name, "b"], title: name))] {
      let elements = try Elements(svg)
      #expect(!elements.all.contains { $0.name == "script" })
      #expect(!svg.contains("<script") && !svg.contains("nan") && !svg.contains("inf"))
    }
    if !name.contains("\u{0}") { #expect(try Elements(figure.svg).text.replacing("\n", with: "").contains(name)) }
  }

  @Test func aFigureHoldsItsChartsWithoutOverlap() throws {
    let figure = ChartFigure(
      title: "T", subtitle: "S", charts: [Self.chart(), Self.chart(["one"]), Self.chart()], columnCount: 2)
    let elements = try Elements(figure.svg)
    let root = try #require(elements.all.first)
    let places = elements.all.compactMap { $0.attributes["transform"] }.map { text in
      text.split { !"0123456789.-".contains($0) }.compactMap { Double($0) }
    }
    #expect(places.count == 3)
    // The second chart has no legend, and shares the first one's baseline.
    #expect(places[0][0] < places[1][0] && places[1][1] > places[0][1] && places[2][1] > places[1][1] + 280)
    #expect((Double(root.attributes["width"] ?? "") ?? 0) >= places[1][0] + 560)
    #expect((Double(root.attributes["height"] ?? "") ?? 0) >= places[2][1] + 280)
    #expect(figure.svg.contains("prefers-color-scheme:dark") && !figure.svg.contains("var(--"))
  }

  @Test func emptyChartsAreDrawn() throws {
    _ = try Elements(ChartFigure(charts: []).svg)
    let chart = Chart(
      title: "none", x: Axis("x", covering: []), y: Axis("y", covering: []),
      series: [
        Chart.Series("nothing", [], style: LineStyle(index: 0)),
        Chart.Series("one", [ChartPoint(0, 1)], style: LineStyle(index: 1)),
      ])
    let elements = try Elements(ChartFigure(charts: [chart]).svg)
    // A line of one point is a mark.
    #expect(elements.all.count { $0.name == "circle" } == 1)
  }

  /// Relative luminance and contrast as WCAG 2 defines them.
  @Test func linesStandOutFromThePage() throws {
    func luminance(_ hex: String) -> Double {
      let value = Int(hex.dropFirst(), radix: 16) ?? 0
      let channels = [16, 8, 0].map { (shift: Int) -> Double in
        let level = Double(value >> shift & 255) / 255
        return level <= 0.03928 ? level / 12.92 : pow((level + 0.055) / 1.055, 2.4)
      }
      return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    }
    func contrast(_ a: String, _ b: String) -> Double {
      let (low, high) = (min(luminance(a), luminance(b)), max(luminance(a), luminance(b)))
      return (high + 0.05) / (low + 0.05)
    }
    let page = try #require(ChartTheme.colors.first { $0.name == "page" })
    // WCAG asks 3 : 1 of graphics and 4.5 : 1 of text.
    for color in ChartTheme.colors where color.name.hasPrefix("c") {
      #expect(contrast(color.light, page.light) >= 2.9 && contrast(color.dark, page.dark) >= 4.5, "\(color)")
    }
    for color in ChartTheme.colors where ["ink", "soft"].contains(color.name) {
      #expect(contrast(color.light, page.light) >= 4.5 && contrast(color.dark, page.dark) >= 4.5, "\(color)")
    }
  }
}
