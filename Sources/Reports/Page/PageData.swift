import Charts

/// The data of the page's charts as JSON, which its script draws.
///
/// It is written by hand, because numbers need few digits and there are many.
struct PageData {
  private var json = ""

  /// Renders the data.
  ///
  /// - Parameters:
  ///   - charts: The lines of the comparison.
  ///   - quantities: The quantities with their lines.
  ///   - parts: The parts of a step, by run.
  init(
    _ charts: RunCharts, _ quantities: [(quantity: RunCharts.Quantity, lines: [RunCharts.Line])],
    parts: [Int: [(name: String, line: RunCharts.Line)]]
  ) {
    json = #"{"runs":["#
    for (index, run) in charts.runs.enumerated() {
      json += index == 0 ? "{" : ",{"
      json += "\"n\":\(Self.quoted(run.name)),\"e\":\(Self.number(run.epochsPerStep)),\"t\":["
      let knots = Self.knots(run)
      append(knots.map(\.x))
      json += ","
      append(knots.map(\.y))
      json += "]}"
    }
    json += #"],"charts":{"#
    var isFirst = true
    for (quantity, lines) in quantities {
      appendChart(
        quantity.rawValue, label: quantity.label, isPercent: quantity == .accuracy,
        includesZero: quantity == .imagesPerSecond, lines.map { (nil, $0) }, &isFirst)
    }
    for (run, lines) in parts.sorted(by: { $0.key < $1.key }) {
      appendChart(
        "parts-\(run)", label: "milliseconds per step", isPercent: false, includesZero: true,
        lines.map { ($0.name, $0.line) }, &isFirst)
    }
    json += "}}"
  }

  /// The JSON, safe within a `script` element.
  var text: String { json }

  private mutating func appendChart(
    _ key: String, label: String, isPercent: Bool, includesZero: Bool, _ lines: [(name: String?, line: RunCharts.Line)],
    _ isFirst: inout Bool
  ) {
    json += isFirst ? "" : ","
    isFirst = false
    json +=
      "\(Self.quoted(key)):{\"label\":\(Self.quoted(label)),\"percent\":\(isPercent),\"zero\":\(includesZero),\"lines\":["
    for (index, (name, line)) in lines.enumerated() {
      json += index == 0 ? "{" : ",{"
      json += "\"r\":\(line.run),\"s\":\(Self.quoted(line.style.classes))"
      if let name { json += ",\"n\":\(Self.quoted(name))" }
      if name == nil, !line.variant.isEmpty { json += ",\"v\":\(Self.quoted(line.variant))" }
      if line.isPale { json += ",\"p\":1" }
      if line.hasMarks { json += ",\"m\":1" }
      json += ",\"x\":"
      append(line.points.map(\.x))
      json += ",\"y\":"
      append(line.points.map(\.y))
      json += "}"
    }
    json += "]}"
  }

  /// Steps and seconds of training, between which time is interpolated.
  private static func knots(_ run: ReportedRun) -> [ChartPoint] {
    let count = run.seconds.count
    guard count > 0 else { return [] }
    let stride = max(count / 250, 1)
    let indices = Array(Swift.stride(from: 0, to: count - 1, by: stride)) + [count - 1]
    return indices.map { ChartPoint(Double(run.metrics.steps[$0].step), run.seconds[$0]) }
  }

  private mutating func append(_ values: [Double]) {
    json += "["
    for (index, value) in values.enumerated() {
      if index > 0 { json += "," }
      json += Self.number(value)
    }
    json += "]"
  }

  /// The shortest text of a number in single precision, which logs have; whole numbers without decimals.
  static func number(_ value: Double) -> String {
    guard value.isFinite else { return "null" }
    if value == value.rounded(), abs(value) < 1e15 { return "\(Int(value))" }
    let single = Float(value)
    return single.isFinite ? "\(single)" : "null"
  }

  /// A text as JSON string; `<`, `>` and `&` are escaped, so that nothing in it ends the `script` element.
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "<", ">", "&", "\u{2028}", "\u{2029}",
        _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
