import Support
import Training

/// The output of `train --print-config`: every setting as YAML, with a comment on where its value is from.
struct ConfigurationReport {
  private let sources: ConfigurationSources
  private let configuration: TrainingConfiguration

  /// Creates the report of a valid configuration.
  init(_ sources: ConfigurationSources, _ configuration: TrainingConfiguration) {
    self.sources = sources
    self.configuration = configuration
  }

  /// The YAML text, which `--config` reads.
  ///
  /// - Throws: The error of the YAML library.
  func render() throws -> String {
    let values = Dictionary(uniqueKeysWithValues: configuration.settings.map { ($0.name, $0.value) })
    var lines = [
      "# Every setting of this run and where its value is from.",
      "# Precedence: flags, WRN_ variables, the file of --config, the recipe.",
    ]
    if let file = sources.file { lines.append("# File: \(file.replacing("\n", with: " "))") }
    var section = ""
    for flag in TrainingFlag.all where flag.name != "config" {
      if flag.section != section {
        section = flag.section
        lines += ["", "# \(section)"]
      }
      let (value, origin) = valueAndOrigin(flag.name, values)
      let setting: String
      if let value {
        setting = try SettingsFile.render([(flag.name, value)]).split(separator: "\n").joined(separator: "\n")
      } else {
        setting = "\(flag.name): null"
      }
      lines.append(setting.leftAligned(40) + " # \(origin.replacing("\n", with: " "))")
    }
    return lines.joined(separator: "\n")
  }

  /// Returns a setting's value, `nil` if it is unset, and where it is from.
  private func valueAndOrigin(_ name: String, _ values: [String: String]) -> (value: String?, origin: String) {
    let given = sources.given[name]
    let recipe = "recipe \(configuration.recipe.rawValue)"
    switch name {
    case "steps" where configuration.epochs != nil: return (nil, "follows from epochs")
    case "epochs":
      guard let epochs = configuration.epochs else { return (nil, "not set") }
      return (String(epochs), given?.origin.description ?? recipe)
    case "depth":
      let origin = given ?? sources.given["blocks-per-group"]
      return (values[name], origin?.origin.description ?? recipe)
    case "blocks-per-group": return (nil, given == nil ? "not set" : "sets depth")
    case "output-dir" where given == nil: return (nil, "default: runs/DATE-TIME-MODEL")
    case "threads" where given == nil: return (nil, "default: the usable cores / the ranks that share them")
    default:
      if let value = values[name] { return (value, given?.origin.description ?? recipe) }
      return (given?.value, given?.origin.description ?? "not set")
    }
  }
}
