import Foundation
import Training

/// An evaluation as `wrn-dist evaluate` prints it.
struct EvaluationReport {
  let result: Evaluation.Result
  let network: String
  let classNames: [String]
  let statistics: String

  /// Several lines for people.
  var text: String {
    let total = "\(result.correctCount) of \(result.exampleCount) images"
    var lines = [
      "\(network), \(statistics) statistics", "loss      \(String(format: "%.8f", result.loss))",
      "accuracy  \(percent(result.accuracy)) (\(total))", "",
    ]
    let width = classNames.map(\.count).max() ?? 0
    let cell = max(4, String(result.exampleCount).count + 1)
    let heading = classNames.indices.map { padded("\($0)", cell) }.joined()
    let blank = String(repeating: " ", count: width + 6)
    lines.append("\(blank)accuracy  taken for class\n\(blank)\(padded("", 8))  \(heading)")
    for label in classNames.indices {
      let name = classNames[label].padding(toLength: width, withPad: " ", startingAt: 0)
      let accuracy = result.confusion.accuracy(label: label).map(percent) ?? "none"
      let counts = result.confusion.row(label).map { padded("\($0)", cell) }.joined()
      lines.append("\(padded("\(label)", 3))  \(name) \(padded(accuracy, 8))  \(counts)")
    }
    return lines.joined(separator: "\n")
  }

  /// One JSON object.
  func json() throws -> String {
    struct Fields: Encodable {
      let network: String
      let statistics: String
      let loss: Double
      let accuracy: Double
      let examples: Int
      let classes: [String]
      let classAccuracy: [Double?]
      let confusion: [[Int]]
    }
    let fields = Fields(
      network: network, statistics: statistics, loss: result.loss, accuracy: result.accuracy,
      examples: result.exampleCount, classes: classNames,
      classAccuracy: classNames.indices.map { result.confusion.accuracy(label: $0) },
      confusion: classNames.indices.map { Array(result.confusion.row($0)) })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return String(decoding: try encoder.encode(fields), as: UTF8.self)
  }

  private func percent(_ part: Double) -> String { String(format: "%.2f %%", 100 * part) }

  private func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
