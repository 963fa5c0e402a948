import Foundation

/// A flag of `wrn-dist train`, as ``TrainingOptions`` declares it.
///
/// The declarations are the only list of flags. Keys of YAML files, environment variables and sweeps follow from it.
struct TrainingFlag {
  /// The name without dashes: `widen-factor`, and for `--nesterov` and `--no-nesterov` alike `nesterov`.
  let name: String
  /// Whether it takes no value: `--nesterov`, `--no-nesterov`.
  let isSwitch: Bool
  /// The title of its section in `--help`.
  let section: String

  /// The environment variable that sets it: `WRN_WIDEN_FACTOR`.
  var variable: String { "WRN_" + name.uppercased().replacing("-", with: "_") }

  /// All flags in the order of `--help`.
  static let all: [TrainingFlag] = {
    struct Tool: Decodable {
      struct Command: Decodable { let arguments: [Argument]? }
      struct Argument: Decodable {
        struct Name: Decodable { let name: String }
        let kind: String
        let names: [Name]?
        let sectionTitle: String?
      }
      let command: Command
    }
    // The parser's description of the declarations, from which its plugins generate manual pages.
    let description = Data(TrainingOptions._dumpHelp().utf8)
    guard let tool = try? JSONDecoder().decode(Tool.self, from: description) else {
      preconditionFailure("the argument parser's description of TrainingOptions has another format")
    }
    let arguments = tool.command.arguments ?? []
    let names = arguments.map { $0.names?.first { $0.name.count > 1 }?.name ?? "" }
    return zip(arguments, names).compactMap { argument, name in
      // The negation of a switch is listed beside it.
      let isNegation = name.hasPrefix("no-") && names.contains(String(name.dropFirst(3)))
      if name.isEmpty || name == "help" || isNegation { return nil }
      return TrainingFlag(name: name, isSwitch: argument.kind == "flag", section: argument.sectionTitle ?? "")
    }
  }()

  /// All flags by name.
  static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  /// Returns the words of the command line that set the flag.
  ///
  /// - Parameter value: The value; `true` or `false` for a switch.
  /// - Returns: `--widen-factor=4`, `--nesterov` or `--no-nesterov`; `nil` if a switch has another value.
  func words(_ value: String) -> [String]? {
    // The argument parser takes "--trace=" for a flag without a value, and "--steps -1" for two flags.
    guard isSwitch else { return value.isEmpty ? ["--\(name)", ""] : ["--\(name)=\(value)"] }
    switch value.lowercased() {
    case "true", "yes", "on", "1": return ["--\(name)"]
    case "false", "no", "off", "0": return ["--no-\(name)"]
    default: return nil
    }
  }

  /// Returns the flags of a command line in order, with the values `true` and `false` for switches.
  ///
  /// - Parameter words: Words that the argument parser has accepted.
  /// - Returns: Names and values; a flag that is repeated occurs several times.
  static func settings(in words: [String]) -> [(name: String, value: String)] {
    var result: [(name: String, value: String)] = []
    var i = 0
    while i < words.count {
      defer { i += 1 }
      guard words[i].hasPrefix("--") else { continue }
      let parts = words[i].dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = parts.first.map(String.init) else { continue }
      if let flag = byName[name] {
        if flag.isSwitch {
          result.append((name, "true"))
        } else if parts.count == 2 {
          result.append((name, String(parts[1])))
        } else if i + 1 < words.count {
          i += 1
          result.append((name, words[i]))
        }
      } else if name.hasPrefix("no-"), byName[String(name.dropFirst(3))]?.isSwitch == true {
        result.append((String(name.dropFirst(3)), "false"))
      }
    }
    return result
  }
}
