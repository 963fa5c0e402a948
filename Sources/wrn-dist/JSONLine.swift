import Foundation

/// One JSON object on one line, for programs that read the last line of an output.
enum JSONLine {
  /// Renders a value with names in snake case, in alphabetical order.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  static func render(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
