/// Texts as parts of other formats.
///
/// All compare Unicode scalars: `,` and a combining mark are one `Character`, but a comma to whatever reads the file.
package enum QuotedText {
  /// A word as a POSIX shell reads it back.
  package static func shell(_ word: String) -> String {
    let isPlain = word.unicodeScalars.allSatisfy {
      $0.isASCII
        && ($0.properties.isAlphabetic || $0.properties.numericType != nil || "-_./,:=+@%".unicodeScalars.contains($0))
    }
    return isPlain && !word.isEmpty ? word : "'" + replacing("'", with: #"'\''"#, in: word) + "'"
  }

  /// A field of CSV (RFC 4180): in quotes if it has a comma, quote, line end or outer space.
  ///
  /// A field that a spreadsheet would take for a formula gets an apostrophe, because names come from directories.
  package static func csv(_ field: String) -> String {
    var text = field
    if let first = text.unicodeScalars.first, "=+-@\t\r".unicodeScalars.contains(first), Double(text) == nil {
      text = "'" + text
    }
    let needsQuotes =
      text.unicodeScalars.contains { ",\"".unicodeScalars.contains($0) || Character($0).isNewline }
      || text.unicodeScalars.first == " " || text.unicodeScalars.last == " "
    return needsQuotes ? "\"" + replacing("\"", with: "\"\"", in: text) + "\"" : text
  }

  private static func replacing(_ old: Unicode.Scalar, with new: String, in text: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      if scalar == old { result.append(contentsOf: new.unicodeScalars) } else { result.append(scalar) }
    }
    return String(result)
  }
}
