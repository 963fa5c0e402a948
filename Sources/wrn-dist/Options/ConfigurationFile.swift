import Support
import Training

/// A file of settings whose names are the flags of `wrn-dist train`.
enum ConfigurationFile {
  /// Reads a file of settings.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - description: The file in messages, such as `--config run.yaml`.
  /// - Returns: The entries in the file's order, without those whose value is `null` or empty.
  /// - Throws: ``UsageError`` if the file cannot be read or is not such a mapping, or if a key is unknown or repeated.
  static func entries(_ path: String, description: String) throws -> [SettingsFile.Entry] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw UsageError("\(description) cannot be read; is the path right?")
    }
    do {
      return try SettingsFile.entries(text) { name, key, line in
        try requireKnown(name, key, "\(description), line \(line)")
      }
    } catch let defect as SettingsFile.Defect {
      throw UsageError("\(description)\(defect.description).")
    }
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
}
