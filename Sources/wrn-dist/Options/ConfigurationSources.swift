import Training

/// The settings of a run from all sources: flags, then `WRN_…` variables, then the file of `--config`, then the recipe.
struct ConfigurationSources {
  /// The source of a setting.
  enum Origin: Hashable {
    /// A flag of the command line.
    case flag
    /// An environment variable.
    case variable(String)
    /// A line of the file.
    case file(String, line: Int)

    /// `flag`, `WRN_DEPTH` or `run.yaml:3`.
    var description: String {
      switch self {
      case .flag: "flag"
      case .variable(let name): name
      case .file(let path, let line): "\(path):\(line)"
      }
    }

    /// The source of a setting in messages: `--depth`, `the variable WRN_DEPTH` or `--config run.yaml, line 3`.
    func place(of name: String) -> String {
      switch self {
      case .flag: "--\(name)"
      case .variable(let variable): "the variable \(variable)"
      case .file(let path, let line): "--config \(path), line \(line)"
      }
    }
  }

  /// A given setting.
  struct Setting {
    let name: String
    let value: String
    let origin: Origin
  }

  /// The file of settings, if there is one.
  let file: String?
  /// The given settings by name; those of the recipe are missing.
  private(set) var given: [String: Setting] = [:]

  // Two flags for one thing: the source with precedence decides which of them applies.
  private static let alternatives = [("steps", "epochs"), ("depth", "blocks-per-group")]

  /// Reads all sources.
  ///
  /// - Parameters:
  ///   - words: The words of the command line, which the argument parser has accepted.
  ///   - environment: The environment of the process.
  /// - Throws: ``UsageError`` if a variable or the file is invalid.
  init(_ words: [String], environment: [String: String]) throws {
    let flags = TrainingFlag.settings(in: words).map { Setting(name: $0.name, value: $0.value, origin: .flag) }
    let variables = ConfigurationVariables.settings(environment).map { name, value in
      Setting(name: name, value: value, origin: .variable(TrainingFlag.byName[name]?.variable ?? name))
    }
    let path = flags.last { $0.name == "config" }?.value ?? variables.last { $0.name == "config" }?.value
    file = path
    let fileSettings = try path.map { path in
      try ConfigurationFile.entries(path, description: "--config \(path)").map { entry in
        guard !entry.isList, let value = entry.values.first else {
          throw UsageError(
            "--config \(path), line \(entry.line): \(entry.name) must have one value; lists are for wrn-dist sweep.")
        }
        return Setting(name: entry.name, value: value, origin: .file(path, line: entry.line))
      }
    }
    for layer in [fileSettings ?? [], variables, flags] {
      if layer.first?.origin != .flag { try Self.validate(layer) }
      add(layer)
    }
  }

  /// Adds the settings of a source with precedence over all before.
  private mutating func add(_ layer: [Setting]) {
    let names = Set(layer.map(\.name))
    for (one, other) in Self.alternatives {
      if names.contains(one) { given[other] = nil }
      if names.contains(other) { given[one] = nil }
    }
    for setting in layer { given[setting.name] = setting }
  }

  /// The flags that have the effect of all sources.
  ///
  /// - Throws: ``UsageError`` if the flags of the command line are invalid together with the others.
  func options() throws -> TrainingOptions {
    let words = TrainingFlag.all.flatMap { flag in given[flag.name].flatMap { flag.words($0.value) } ?? [] }
    return try TrainingOptions.parse(words)
  }

  /// Refuses values that the argument parser does not accept, with the name of their source.
  private static func validate(_ layer: [Setting]) throws {
    let words = layer.compactMap { TrainingFlag.byName[$0.name]?.words($0.value) }
    if words.count == layer.count, (try? TrainingOptions.parse(words.flatMap { $0 })) != nil { return }
    for setting in layer {
      let place = setting.origin.place(of: setting.name)
      guard let words = TrainingFlag.byName[setting.name]?.words(setting.value) else {
        throw UsageError("\(place): \(setting.name) is \(setting.value) but must be true or false.")
      }
      do { _ = try TrainingOptions.parse(words) } catch {
        throw UsageError("\(place): \(TrainingOptions.message(for: error)).")
      }
    }
  }
}
