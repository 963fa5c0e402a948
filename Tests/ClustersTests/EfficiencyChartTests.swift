import Clusters
import Foundation
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

@Suite struct EfficiencyChartTests {
  @Test func theChartIsWellFormedAndHasEveryPoint() {
    let series = [1, 4].map { k in
      EfficiencyChart.Series(name: "k < \(k)", points: [(1, 1.0), (2, 0.9), (4, 0.5), (8, 0.5)])
    }
    let svg = EfficiencyChart(
      title: "A & B", subtitle: "10Gb",
      subplots: [.init(title: "one", series: series), .init(title: "none", series: [])]
    ).svg
    let parser = XMLParser(data: Data(svg.utf8))
    #expect(parser.parse(), "\(parser.parserError.map(String.init(describing:)) ?? "")")
    #expect(svg.split(separator: "<circle").count == 9)
    #expect(svg.contains("A &amp; B") && svg.contains("k &lt; 4"))
    #expect(!svg.contains("nan") && !svg.contains("inf"))
  }
}
