import Foundation

/// Standard error: one line per call, without a buffer.
enum StandardError {
  /// Writes a line.
  static func write(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
}

/// One JSON object on one line, which programs read as the last line of an output.
enum JSONLine {
  /// Renders a value with names in snake case, in alphabetical order.
  ///
  /// - Parameters:
  ///   - value: The value.
  ///   - escapesSlashes: Whether `/` is written as `\/`, as `evaluate --json` does.
  /// - Returns: The line, without its end.
  /// - Throws: `EncodingError` for a number that JSON lacks.
  static func render(_ value: some Encodable, escapesSlashes: Bool = false) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = escapesSlashes ? .sortedKeys : [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
