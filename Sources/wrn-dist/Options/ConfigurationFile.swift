import Yams

/// A YAML file of settings: `widen-factor: 4`, one per line, named like the flags.
enum ConfigurationFile {
  /// Converts a file to command-line arguments, so that one parser validates both.
  ///
  /// - Parameter path: A YAML mapping from flag names (`widen-factor`, `widen_factor` or `widenFactor`) to values.
  /// - Returns: `["--widen-factor", "4", …]` in the file's order.
  /// - Throws: ``UsageError`` if the file cannot be read or is not such a mapping.
  static func arguments(_ path: String) throws -> [String] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw UsageError("--config \(path) cannot be read; is the path right?")
    }
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch {
      let reason = "\(error)".split(separator: "\n").first.map(String.init) ?? "unreadable"
      throw UsageError("--config \(path) is not YAML: \(reason).")
    }
    guard let node else { return [] }
    guard let mapping = node.mapping else {
      throw UsageError("--config \(path) must be a mapping of flag names to values.")
    }
    return try mapping.flatMap { key, value -> [String] in
      guard let name = key.string, let setting = value.scalar?.string else {
        throw UsageError("--config \(path) must have one scalar value per flag name.")
      }
      if value.null != nil && setting != "" && setting != "null" || setting.isEmpty { return [] }
      switch setting {
      // No option has these values, so a flag is meant: --nesterov, --no-nesterov.
      case "true": return ["--\(kebabCase(name))"]
      case "false": return ["--no-\(kebabCase(name))"]
      default: return ["--\(kebabCase(name))", setting]
      }
    }
  }

  /// Returns settings as YAML, one per line.
  static func render(_ settings: [(name: String, value: String)]) throws -> String {
    let pairs = settings.map { (Node($0.name), Node($0.value)) }
    return try Yams.serialize(node: Node.mapping(Node.Mapping(pairs)))
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
