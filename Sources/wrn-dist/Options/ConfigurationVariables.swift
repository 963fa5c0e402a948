import Support

/// The environment variables that set flags of `wrn-dist train`: `WRN_LEARNING_RATE` for `--learning-rate`.
enum ConfigurationVariables {
  /// The variables with another meaning, which no flag may shadow; `docs/training.md` explains them.
  static let reserved: Set = [
    "WRN_ALLOW_FAULTS", "WRN_CIFAR10", "WRN_END_TIME", "WRN_FAULT", "WRN_FLAGS", "WRN_INTERFACE", "WRN_ISA",
    "WRN_FUZZ", "WRN_RANKS_PER_HOST", "WRN_RESTARTS", "WRN_RESTART_SECONDS", "WRN_ROOT", "WRN_RUN", "WRN_SANITIZE",
    "WRN_SKIP_BUILD", "WRN_TEST_NO_PROGRESS", "WRN_TEST_WRONG_KERNEL", "WRN_WARNINGS_AS_ERRORS",
  ]

  /// Returns the flags that variables set, in the order of `--help`; an empty variable counts as unset.
  static func settings(_ environment: [String: String]) -> [(name: String, value: String)] {
    TrainingFlag.all.compactMap { flag in
      guard let value = environment[flag.variable], !value.isEmpty else { return nil }
      return (flag.name, value)
    }
  }

  /// Returns a warning for every variable whose name is almost that of a flag.
  ///
  /// Only one or two edits count, because other programs may use the prefix as well.
  static func warnings(_ environment: [String: String]) -> [String] {
    let known = TrainingFlag.all.map(\.variable)
    return environment.keys.sorted().compactMap { name in
      guard name.hasPrefix("WRN_"), !reserved.contains(name), !known.contains(name),
        let nearest = NearestName.find(name, in: known, within: 2)
      else { return nil }
      return "warning: the variable \(name) has no effect; did you mean \(nearest)?"
    }
  }
}
