import Foundation
import TestSupport
import Testing

/// The sources of settings and their precedence: flags, `WRN_…` variables, the file of `--config`, the recipe.
@Suite struct ConfigurationTests {
  /// Runs `train --print-config` and returns every setting with its value and the comment on its source.
  private func settings(
    _ folder: TemporaryDirectory, _ flags: [String] = [], ranks: Int? = nil, environment: [String: String] = [:]
  ) throws -> [String: (value: String, origin: String)] {
    var job = Job(folder, ranks: ranks, ["train", "--print-config"] + flags)
    job.environment = environment
    let output = try job.succeed()
    var result: [String: (value: String, origin: String)] = [:]
    for line in output.lines where !line.hasPrefix("#") {
      let match = try #require(line.wholeMatch(of: /([a-z0-9-]+): (.*?) +# (.*)/), "\(line)")
      let name = String(match.output.1)
      #expect(result[name] == nil, "\(name) is printed once")
      result[name] = (String(match.output.2), String(match.output.3))
    }
    return result
  }

  @Test func everySourceOverridesTheNext() throws {
    let folder = try TemporaryDirectory()
    try folder.write("run.yaml", "recipe: fast\nlearning-rate: 0.1\nwidenFactor: 3\nseed: 7\n")
    let variables = ["WRN_LEARNING_RATE": "0.2", "WRN_WIDEN_FACTOR": "5", "WRN_NESTEROV": "false"]
    let found = try settings(
      folder, ["--config", "run.yaml", "--learning-rate", "0.3"], environment: variables)
    let expected = [
      "learning-rate": ("0.3", "flag"), "widen-factor": ("5", "WRN_WIDEN_FACTOR"),
      "nesterov": ("false", "WRN_NESTEROV"),
      "seed": ("7", "run.yaml:4"), "recipe": ("fast", "run.yaml:1"), "batch-size": ("256", "recipe fast"),
      "epochs": ("28", "recipe fast"), "steps": ("null", "follows from epochs"), "trace": ("null", "not set"),
    ]
    for (name, (value, origin)) in expected {
      #expect(
        found[name]?.value == value && found[name]?.origin == origin, "\(name): \(String(describing: found[name]))")
    }
    // Every flag of the help is there, and nothing else.
    let help = try Job(folder, ["train", "--help"]).succeed().standardOutput
    let flags = Set(help.matches(of: /\n  (?:--[a-z0-9-]+\/)?--([a-z0-9-]+)/).map { String($0.output.1) })
      .subtracting(["config", "print-config", "version", "help"])
    #expect(Set(found.keys) == Set(flags.map { $0.hasPrefix("no-") ? String($0.dropFirst(3)) : $0 }))
    // Nothing was started.
    #expect(folder.names("") == ["run.yaml"])
  }

  /// A run uses the sources as they are printed.
  @Test(arguments: [nil, 2]) func aRunHasThePrintedSettings(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    try folder.write("run.yaml", "depth: 10\nbatch-size: 16\nsteps: 9\ndata: synthetic\nseed: 1\neval-every: 0\n")
    var job = Job(folder, ranks: ranks, ["--output-dir", "run", "--seed", "3"])
    job.environment = ["WRN_CONFIG": "run.yaml", "WRN_STEPS": "2", "WRN_SEED": "2"]
    #expect(try job.succeed().standardOutput.contains("WRN-10-1, 2 steps of 16 images"))
    #expect(folder.read("run/config.yaml").contains("seed: 3\n"))
    #expect(folder.read("run/config.yaml").contains("steps: 2\n"))
  }

  @Test func thePrintedSettingsAreAConfigurationFile() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--recipe", "paper", "--no-decay-biases", "--resolution", "16@0,32@0.5", "--data", "a b: #c"]
    let printed = try Job(folder, ["train", "--print-config"] + flags).succeed()
    try folder.write("again.yaml", printed.standardOutput)
    let (first, second) = (try settings(folder, flags), try settings(folder, ["--config", "again.yaml"]))
    #expect(first.mapValues(\.value) == second.mapValues(\.value))
    #expect(second["decay-biases"]?.origin.hasPrefix("again.yaml:") == true)
  }

  /// One setting of two flags: the source with precedence decides, and its rival of a lower source is dropped.
  @Test func alternativesOverrideEachOther() throws {
    let folder = try TemporaryDirectory()
    try folder.write("run.yaml", "steps: 9\nblocks-per-group: 2\n")
    let config = ["--config", "run.yaml"]
    #expect(try settings(folder, config)["depth"]?.value == "16")
    #expect(try settings(folder, config + ["--depth", "10"])["depth"]?.value == "10")
    let found = try settings(folder, config, environment: ["WRN_EPOCHS": "2"])
    #expect(found["epochs"]?.value == "2" && found["steps"]?.value == "null")
  }

  @Test func theSettingsArePrintedOnceForAllRanks() throws {
    #expect(try settings(TemporaryDirectory(), ["--seed", "4"], ranks: 3)["seed"]?.value == "4")
  }

  @Test func invalidSourcesAreNamed() throws {
    let folder = try TemporaryDirectory()
    for (text, words) in [
      ("depth: 10\nwiden-factr: 2\n", ["line 2", "'widen-factr' is not a setting", "did you mean widen-factor?"]),
      ("zzzzzzzz: 2\n", ["'zzzzzzzz' is not a setting", "--help"]), ("seed: abc\n", ["line 1", "'abc' is invalid"]),
      ("seed: [1, 2]\n", ["seed must have one value", "wrn-dist sweep"]), ("nesterov: 3\n", ["true or false"]),
      ("seed: 1\nsteps: 3\nseed: 2\n", ["eed"]), ("widen-factor: 1\nwidenFactor: 2\n", ["line 2", "line 1 already"]),
      ("seed: {a: 1}\n", ["not a mapping"]), ("config: x.yaml\n", ["cannot name another"]),
    ] {
      try folder.write("bad.yaml", text)
      let output = try Job(folder, ["train", "--config", "bad.yaml", "--output-dir", "out"]).run()
      #expect(output.exitCode == 64 && output.errorLines.count == 1, "\(text): \(output.standardError)")
      for word in ["bad.yaml"] + words { #expect(output.standardError.contains(word), "\(output.standardError)") }
    }
    for (name, value, word) in [
      ("WRN_SEED", "abc", "the variable WRN_SEED: The value 'abc'"),
      ("WRN_TEST_FLIP", "maybe", "the variable WRN_TEST_FLIP: test-flip is maybe but must be true or false"),
      ("WRN_CONFIG", "missing.yaml", "--config missing.yaml cannot be read"),
    ] {
      var job = Job(folder, ["train", "--output-dir", "out"])
      job.environment = [name: value]
      let output = try job.run()
      #expect(output.exitCode == 64 && output.errorLines.count == 1, "\(output.standardError)")
      #expect(output.standardError.contains(word), "\(output.standardError)")
    }
    #expect(folder.names("") == ["bad.yaml"])
  }

  /// Only names that are almost those of flags are warned of, so that other variables make no noise.
  @Test func aMisspelledVariableIsWarnedOf() throws {
    let folder = try TemporaryDirectory()
    var job = Job(folder, ranks: 2, ["train", "--print-config"])
    job.environment = [
      "WRN_LERNING_RATE": "1", "WRN_ISA": "", "WRN_RUN": "a", "WRN_ROOT": "/", "WRN_INTERFACE": "lo", "WRN_FLAGS": "x",
      "WRN_RESTARTS": "1", "WRN_ELSEWHERE": "1", "WRN_SEED": "1",
    ]
    var sweep = Job(folder, ["sweep", "--list", "--output-dir", "d"])
    sweep.environment = job.environment
    for job in [job, sweep] {
      #expect(
        try job.succeed().standardError.split(separator: "\n").filter { $0.contains("warning: ") }
          == ["warning: the variable WRN_LERNING_RATE has no effect; did you mean WRN_LEARNING_RATE?"])
    }
  }

  /// No variable of the documentation that has another meaning is read as a flag.
  @Test func variablesWithAnotherMeaningSetNothing() throws {
    let folder = try TemporaryDirectory()
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/training.md"), encoding: .utf8)
    let start = try #require(text.range(of: "## Environment variables")).upperBound
    let documented = text[start...].matches(of: /`(WRN_[A-Z_]+)`/).map { String($0.output.1) }
    #expect(documented.contains("WRN_ISA") && documented.contains("WRN_FAULT"))
    let flags = try settings(folder).keys.map { "WRN_" + $0.uppercased().replacing("-", with: "_") }
    for name in documented where name != "WRN_LEARNING_RATE" { #expect(!flags.contains(name), "\(name)") }
  }

  @Test func ranksWithDifferentVariablesAreRefused() throws {
    let folder = try TemporaryDirectory()
    let program = try BuiltProducts.executable("wrn-dist")
    let common = ["train", "--depth", "10", "--data", "synthetic", "--output-dir", "run"]
    var run = MPIRun(ranks: 1, program, common + [":", "-np", "1", "-x", "WRN_LEARNING_RATE=0.5", program] + common)
    run.workingFolder = folder.path
    let output = try run.run()
    #expect(output.exitCode == 64, "\(output.standardError)")
    #expect(output.standardError.contains("--learning-rate is 0.01 on rank 0 but 0.5 on rank 1"))
  }
}
