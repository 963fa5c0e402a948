import Foundation
import Yams

/// A YAML file of settings: `widen-factor: 4`, one per line, named like the flags.
///
/// `--config` and `wrn-dist sweep` read it, and every run writes one, `config.yaml`.
package enum SettingsFile {
  /// A key and its values.
  package struct Entry: Hashable, Sendable {
    /// The flag's name.
    package let name: String
    /// The values: one, or those of a list.
    package let values: [String]
    /// Whether the values are a list.
    package let isList: Bool
    /// The line of the file, from 1.
    package let line: Int
  }

  /// A text that is not a mapping of settings.
  package struct Defect: Error, CustomStringConvertible {
    /// The rest of a sentence that begins with the file.
    package let description: String
  }

  /// The most aliases of a file.
  ///
  /// More could repeat each other millions of times, and no setting needs one.
  private static let maximumAliasCount = 16

  /// Parses a mapping from flag names (`widen-factor`, `widen_factor` or `widenFactor`) to values or lists of values.
  ///
  /// - Parameters:
  ///   - text: The file's contents.
  ///   - validateName: Refuses a flag's name; receives the name, the key and the line, from 1.
  /// - Returns: The entries in the file's order, without those whose value is `null` or empty.
  /// - Throws: ``Defect`` if it is not such a mapping, or if a key is repeated; the error of `validateName`.
  package static func entries(
    _ text: String, validateName: (_ name: String, _ key: String, _ line: Int) throws -> Void
  ) throws -> [Entry] {
    guard let node = try compose(text), node.null == nil || node.scalar == nil else { return [] }
    guard let mapping = node.mapping else { throw Defect(description: " must be a mapping of flag names to values") }
    var lines: [String: Int] = [:]
    return try mapping.compactMap { key, value in
      let line = key.mark?.line ?? 0
      guard let text = key.string else { throw defect(line, "a key must be the name of a flag") }
      let name = kebabCase(text)
      try validateName(name, text, line)
      if let earlier = lines[name] {
        throw defect(line, "\(name) is set on line \(earlier) already; keep one of them")
      }
      lines[name] = line
      if let sequence = value.sequence {
        let values = sequence.map { $0.scalar?.string }
        guard !values.contains(nil) else { throw defect(line, "every value of \(name) must be a number or a text") }
        return Entry(name: name, values: values.compactMap { $0 }, isList: true, line: line)
      }
      guard let scalar = value.scalar else { throw defect(line, "\(name) must have one value, not a mapping") }
      let isUnset = scalar.string.isEmpty || value.null != nil && scalar.style == .plain
      return isUnset ? nil : Entry(name: name, values: [scalar.string], isList: false, line: line)
    }
  }

  /// Returns the settings of a run's `config.yaml` in the file's order.
  ///
  /// - Returns: Names and values as they are written; `nil` if the text is not a mapping, or if tags distinguish equal names.
  package static func settings(_ text: String) -> [(name: String, value: String)]? {
    let settings = (try? compose(text))?.mapping?.compactMap { key, value in
      key.scalar.flatMap { name in value.scalar.map { (name: name.string, value: $0.string) } }
    }
    guard let settings, Set(settings.map(\.name)).count == settings.count else { return nil }
    return settings
  }

  /// Returns settings as YAML, one per line.
  ///
  /// - Throws: The error of the YAML library.
  package static func render(_ settings: [(name: String, value: String)]) throws -> String {
    let pairs = settings.map { (Node($0.name), Node($0.value)) }
    return try Yams.serialize(node: Node.mapping(Node.Mapping(pairs)))
  }

  private static func compose(_ text: String) throws -> Node? {
    guard aliasCount(text) <= maximumAliasCount else {
      throw Defect(description: " has more than \(maximumAliasCount) YAML aliases (*name); write the values out")
    }
    do {
      // Its default encoding is that of a variable, which it prints.
      return try Yams.compose(yaml: text, .default, .default, .utf8)
    } catch {
      let reason = "\(error)".split(separator: "\n").first.map(String.init) ?? "unreadable"
      throw Defect(description: " is not YAML: \(reason)")
    }
  }

  /// Returns an upper limit of the aliases in a text: the asterisks at the start of a word.
  ///
  /// The YAML library compares keys with all their aliases replaced, which takes time exponential in their number.
  private static func aliasCount(_ text: String) -> Int {
    var (count, startsWord) = (0, true)
    for byte in text.utf8 {
      if byte == UInt8(ascii: "*") && startsWord { count += 1 }
      startsWord = byte <= 32 || byte >= 128 || "[]{},:?-".utf8.contains(byte)
    }
    return count
  }

  private static func defect(_ line: Int, _ what: String) -> Defect {
    Defect(description: ", line \(line): \(what)")
  }

  private static func kebabCase(_ name: String) -> String {
    name.reduce(into: "") { result, character in
      if character == "_" {
        result += "-"
      } else if character.isUppercase {
        result += "-" + character.lowercased()
      } else {
        result.append(character)
      }
    }
  }
}
