import ArgumentParser
import Support

/// A grid over flags of `wrn-dist train`: the values of every flag, of which a sweep trains all combinations.
struct SweepGrid {
  /// A flag and its values.
  struct Axis {
    /// The flag's name.
    let name: String
    /// Its values in the given order, at least one.
    let values: [String]
  }

  /// The flags: those of the file in its order, then those of the command line.
  private(set) var axes: [Axis] = []
  /// The YAML file, if there is one.
  let file: String?

  // The sweep itself sets the first two. The others would have every run write to one file or start from another run's.
  private static let excluded = ["output-dir", "resume", "trace", "prometheus-textfile"]

  /// Reads a grid.
  ///
  /// A value of the command line that is valid as it is counts as one value, and is divided at its commas otherwise: `1,2` of
  /// `--widen-factor` is two values, `3,1,3` of `--block` is one. A flag that is repeated has all given values.
  ///
  /// - Parameter words: A YAML file's path, or none, and flags of `wrn-dist train`, in any order.
  /// - Throws: ``UsageError`` if a word is not a flag, a value is invalid or given twice, or a flag has no values.
  init(_ words: [String]) throws {
    var (file, values, order): (String?, [String: [String]], [String]) = (nil, [:], [])
    var i = 0
    while i < words.count {
      let word = words[i]
      i += 1
      guard word.hasPrefix("-") else {
        guard file == nil else {
          throw UsageError("'\(word)' is a second file, beside \(file ?? ""); give one file, and flags of train.")
        }
        file = word
        continue
      }
      let (flag, value, isNegated) = try Self.flag(word)
      var given = [isNegated ? "false" : "true"]
      if !flag.isSwitch {
        if value == nil, i == words.count { throw UsageError("--\(flag.name) needs a value.") }
        given = try Self.divided(value ?? words[i], flag)
        if value == nil { i += 1 }
      }
      if values[flag.name] == nil { order.append(flag.name) }
      values[flag.name, default: []] += given
    }
    self.file = file
    for entry in try file.map({ try ConfigurationFile.entries($0, description: "the sweep \($0)") }) ?? [] {
      let given = values[entry.name]
      order.removeAll { $0 == entry.name }
      let place = "the sweep \(file ?? ""), line \(entry.line)"
      try append(entry.name, given ?? entry.values, place: given == nil ? place : nil)
    }
    for name in order { try append(name, values[name] ?? [], place: nil) }
  }

  /// All combinations in order: the last flag varies fastest.
  ///
  /// - Returns: For each combination a value per flag, in the order of ``axes``.
  var combinations: [[(name: String, value: String)]] {
    axes.reduce([[]]) { partial, axis in
      partial.flatMap { settings in axis.values.map { settings + [(axis.name, $0)] } }
    }
  }

  /// The number of combinations; `nil` if it is not a number of 64 bits.
  var count: Int? {
    axes.reduce(1) { product, axis in
      guard let product else { return nil }
      let (result, overflow) = product.multipliedReportingOverflow(by: axis.values.count)
      return overflow ? nil : result
    }
  }

  /// Refuses the settings of variables and of `--config` that the runs of a sweep cannot have in common.
  ///
  /// The output directory of another source has no effect, because the flag of the sweep overrides it.
  ///
  /// - Parameter sources: The settings of a run.
  /// - Throws: ``UsageError`` with the source of the setting.
  static func requireNoExcluded(in sources: ConfigurationSources) throws {
    for name in excluded {
      guard let given = sources.given[name], given.origin != .flag else { continue }
      // The default, which every config.yaml has.
      if name == "resume", given.value == "auto" { continue }
      throw refusal(of: name, "\(given.origin.place(of: name)): ")
    }
  }

  private static func refusal(of name: String, _ prefix: String) -> UsageError {
    UsageError(
      "\(prefix)--\(name) cannot be a setting of a sweep, whose runs need different ones"
        + (name == "output-dir" ? "; give --output-dir DIRECTORY on the command line." : "; remove it."))
  }

  private mutating func append(_ name: String, _ values: [String], place: String?) throws {
    let prefix = place.map { "\($0): " } ?? ""
    if Self.excluded.contains(name) { throw Self.refusal(of: name, prefix) }
    guard !values.isEmpty else {
      throw UsageError("\(prefix)\(name) has no values, so the sweep has no runs; give one.")
    }
    for (i, value) in values.enumerated() {
      if values[..<i].contains(value) { throw UsageError("\(prefix)\(name) has the value \(value) twice; remove one.") }
      try Self.requireValid(value, of: name, prefix)
    }
    axes.append(Axis(name: name, values: values))
  }

  /// Returns the flag of a word, the value after its `=`, and whether it is the negation of a switch.
  private static func flag(_ word: String) throws -> (TrainingFlag, value: String?, isNegated: Bool) {
    let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let name = parts.first.map(String.init) ?? ""
    if word.hasPrefix("--") {
      if let flag = TrainingFlag.byName[name] { return (flag, parts.count == 2 ? String(parts[1]) : nil, false) }
      if name.hasPrefix("no-"), let flag = TrainingFlag.byName[String(name.dropFirst(3))], flag.isSwitch {
        return (flag, nil, true)
      }
    }
    let nearest = NearestName.find(name, in: TrainingFlag.all.map(\.name))
    throw UsageError(
      "'\(word)' is not a flag of sweep or train; "
        + (nearest.map { "did you mean --\($0)?" } ?? "see wrn-dist sweep --help and wrn-dist train --help."))
  }

  private static func divided(_ value: String, _ flag: TrainingFlag) throws -> [String] {
    if isValid(value, flag) { return [value] }
    let parts = value.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    return parts.count > 1 ? parts : [value]
  }

  private static func isValid(_ value: String, _ flag: TrainingFlag) -> Bool {
    guard let words = flag.words(value) else { return false }
    return (try? TrainingOptions.parse(words)) != nil
  }

  private static func requireValid(_ value: String, of name: String, _ prefix: String) throws {
    guard let words = TrainingFlag.byName[name]?.words(value) else {
      throw UsageError("\(prefix)\(name) is \(value) but must be true or false.")
    }
    do { _ = try TrainingOptions.parse(words) } catch {
      throw UsageError("\(prefix)\(TrainingOptions.message(for: error)).")
    }
  }
}
