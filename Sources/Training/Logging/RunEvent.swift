import Foundation

/// Something that a run reports: lines for a reader, and the same as machine-readable fields.
public struct RunEvent: Sendable {
  /// A field's value.
  public enum Value: Sendable, Hashable {
    /// A text.
    case text(String)
    /// A whole number.
    case integer(Int)
    /// A number; one that is not finite is written as `null`.
    case number(Double)
  }

  /// The kind of event, such as `evaluation`.
  public let name: String
  /// The fields in order, without those that have no value.
  public let fields: [(name: String, value: Value)]
  /// The lines for a reader.
  public let lines: [String]

  /// Creates an event; fields whose value is `nil` are left out.
  public init(_ name: String, _ fields: KeyValuePairs<String, Value?> = [:], lines: [String] = []) {
    self.name = name
    self.fields = fields.compactMap { name, value in value.map { (name, $0) } }
    self.lines = lines
  }

  /// Renders the event as one JSON object on one line.
  ///
  /// - Parameter time: Seconds since 1970.
  /// - Returns: `{"event":…,"time":…,…}` without a line end.
  public func json(time: Double) -> String {
    let members = [("event", Value.text(name)), ("time", .number((time * 1000).rounded() / 1000))] + fields
    return "{" + members.map { "\(Self.quoted($0)):\(Self.render($1))" }.joined(separator: ",") + "}"
  }

  private static func render(_ value: Value) -> String {
    switch value {
    case .text(let text): quoted(text)
    case .integer(let number): String(number)
    case .number(let number): number.isFinite ? number.description : "null"
    }
  }

  private static func quoted(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "\"") { result, scalar in
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case _ where scalar.value < 0x20: result += String(format: "\\u%04x", scalar.value)
      default: result.unicodeScalars.append(scalar)
      }
    } + "\""
  }
}
