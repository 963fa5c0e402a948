import Support
import Yams

/// A YAML file of settings: `widen-factor: 4`, one per line, named like the flags.
enum ConfigurationFile {
  /// A key and its values.
  struct Entry {
    /// The flag's name.
    let name: String
    /// The values: one, or those of a list.
    let values: [String]
    /// Whether the values are a list.
    let isList: Bool
    /// The line of the file, from 1.
    let line: Int
  }

  /// Reads a mapping from flag names (`widen-factor`, `widen_factor` or `widenFactor`) to values or lists of values.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - description: The file in messages, such as `--config run.yaml`.
  /// - Returns: The entries in the file's order, without those whose value is `null` or empty.
  /// - Throws: ``UsageError`` if the file cannot be read or is not such a mapping, or if a key is unknown or repeated.
  static func entries(_ path: String, description: String) throws -> [Entry] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw UsageError("\(description) cannot be read; is the path right?")
    }
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch {
      let reason = "\(error)".split(separator: "\n").first.map(String.init) ?? "unreadable"
      throw UsageError("\(description) is not YAML: \(reason).")
    }
    guard let node, node.null == nil || node.scalar == nil else { return [] }
    guard let mapping = node.mapping else {
      throw UsageError("\(description) must be a mapping of flag names to values.")
    }
    var lines: [String: Int] = [:]
    return try mapping.compactMap { key, value in
      let line = key.mark?.line ?? 0
      guard let text = key.string else {
        throw UsageError("\(description), line \(line): a key must be the name of a flag.")
      }
      let name = kebabCase(text)
      try requireKnown(name, text, "\(description), line \(line)")
      if let earlier = lines[name] {
        throw UsageError("\(description), line \(line): \(name) is set on line \(earlier) already; keep one of them.")
      }
      lines[name] = line
      if let sequence = value.sequence {
        let values = sequence.map { $0.scalar?.string }
        guard !values.contains(nil) else {
          throw UsageError("\(description), line \(line): every value of \(name) must be a number or a text.")
        }
        return Entry(name: name, values: values.compactMap { $0 }, isList: true, line: line)
      }
      guard let scalar = value.scalar else {
        throw UsageError("\(description), line \(line): \(name) must have one value, not a mapping.")
      }
      let isUnset = scalar.string.isEmpty || value.null != nil && scalar.style == .plain
      return isUnset ? nil : Entry(name: name, values: [scalar.string], isList: false, line: line)
    }
  }

  /// Returns settings as YAML, one per line.
  static func render(_ settings: [(name: String, value: String)]) throws -> String {
    let pairs = settings.map { (Node($0.name), Node($0.value)) }
    return try Yams.serialize(node: Node.mapping(Node.Mapping(pairs)))
  }

  private static func requireKnown(_ name: String, _ key: String, _ place: String) throws {
    if name == "config" {
      throw UsageError("\(place): a file of settings cannot name another one; pass --config once, on the command line.")
    }
    if TrainingFlag.byName[name] != nil { return }
    let nearest = NearestName.find(name, in: TrainingFlag.all.map(\.name))
    throw UsageError(
      "\(place): '\(key)' is not a setting; "
        + (nearest.map { "did you mean \($0)?" } ?? "wrn-dist train --help lists them by their flags."))
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
