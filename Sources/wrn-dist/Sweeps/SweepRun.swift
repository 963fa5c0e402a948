import Foundation
import Training

/// One combination of a sweep's grid.
struct SweepRun {
  /// Its number in the grid, from 0.
  let index: Int
  /// The name of its directory: `widen-factor=2,seed=1`.
  let name: String
  /// Its directory.
  let directory: String
  /// The flags that the sweep gives it.
  let settings: [(name: String, value: String)]
  /// All its settings, those of variables, of `--config` and of the recipe included.
  let configuration: TrainingConfiguration

  /// The arguments of `wrn-dist train`; flags that the grid does not set are left to the other sources.
  var arguments: [String] { Self.arguments(settings, directory) }

  /// The settings that may differ at a later start of the sweep: those of the machine, and of checkpoints.
  static let machineSettings: Set = [
    "output-dir", "resume", "threads", "engine", "progress", "bucket-size", "optimizer-state", "stall-timeout",
    "eval-ranks", "checkpoint-mode", "keep-checkpoints",
  ]

  /// The settings that a later start of the sweep must share.
  var comparedSettings: [(name: String, value: String)] {
    let length = configuration.epochs.map { ("epochs", String($0)) } ?? ("steps", String(configuration.steps))
    return [length] + configuration.settings.filter { !Self.machineSettings.contains($0.name) && $0.name != "steps" }
  }

  /// Lists the runs of a grid, and checks every setting that can be checked without the data set.
  ///
  /// - Parameters:
  ///   - grid: The grid.
  ///   - directory: The sweep's directory.
  ///   - environment: The environment of the process, whose variables apply to every run.
  /// - Returns: The runs in the order of the grid.
  /// - Throws: ``UsageError`` with the run's name if a combination is invalid, with the source of a setting that no sweep can
  ///   have, or if there are too many runs.
  static func runs(of grid: SweepGrid, in directory: String, environment: [String: String]) throws -> [SweepRun] {
    guard let count = grid.count, count <= 10_000 else {
      throw UsageError("the sweep has more than 10000 runs; give fewer values.")
    }
    let varied = Set(grid.axes.filter { $0.values.count > 1 }.map(\.name))
    var names = Set<String>()
    return try grid.combinations.enumerated().map { index, settings in
      let name = uniqueName(settings.filter { varied.contains($0.name) }, index: index, &names)
      let path = "\(directory)/\(name)"
      let sources: ConfigurationSources
      let configuration: TrainingConfiguration
      do {
        sources = try ConfigurationSources(Self.arguments(settings, path), environment: environment)
        configuration = try sources.options().configuration()
      } catch {
        throw UsageError("the run \(name) of the sweep is invalid: \(CommandFailure(error).message)")
      }
      try SweepGrid.requireNoExcluded(in: sources)
      return SweepRun(index: index, name: name, directory: path, settings: settings, configuration: configuration)
    }
  }

  private static func arguments(_ settings: [(name: String, value: String)], _ directory: String) -> [String] {
    // A directory that begins with a minus would be treated as a flag.
    settings.flatMap { TrainingFlag.byName[$0.name]?.words($0.value) ?? [] } + ["--output-dir=\(directory)"]
  }

  /// Returns a name of letters, digits and `.+-_=,` that no other run has; it begins with the name of a flag.
  private static func uniqueName(
    _ settings: [(name: String, value: String)], index: Int, _ names: inout Set<String>
  ) -> String {
    let parts = settings.map { name, value in
      let safe = value.unicodeScalars.map { scalar in
        let isSafe =
          scalar.isASCII && (scalar.properties.isAlphabetic || "0123456789.+-_".unicodeScalars.contains(scalar))
        return isSafe ? Character(scalar) : "_"
      }
      return "\(name)=\(String(safe.prefix(40)))"
    }
    var name = parts.isEmpty ? "run" : parts.joined(separator: ",")
    // File systems allow 255 bytes, and files inside have longer paths.
    if name.count > 160 { name = "run-\(index)" }
    // The name with the number may be another run's, too.
    while names.contains(name) { name += "_\(index)" }
    names.insert(name)
    return name
  }
}
