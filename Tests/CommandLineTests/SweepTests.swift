import Foundation
import Synchronization
import TestSupport
import Testing

/// Sweeps: grids, names, records, comparison and failures.
@Suite struct SweepTests {
  /// Returns the directories of the runs that `--list` prints.
  private func list(_ folder: TemporaryDirectory, _ words: [String]) throws -> [(directory: String, command: String)] {
    let output = try Job.sweep(folder, words + ["--list"]).succeed()
    return try output.lines.enumerated().map { index, line in
      let fields = line.split(separator: "\t").map(String.init)
      try #require(fields.count == 3 && fields[0] == "\(index)", "\(line)")
      return (fields[1], fields[2])
    }
  }

  @Test func gridsOfFilesAndFlags() throws {
    let folder = try TemporaryDirectory()
    try folder.write("grid.yaml", "widenFactor: [1, 2]\nsteps: 7\nseed: [3, 4]\nnesterov: [true, false]\n")
    #expect(
      try list(folder, ["grid.yaml", "--seed", "5", "--learning-rate=0.1,0.2"]).map(\.directory) == [
        "d/widen-factor=1,nesterov=true,learning-rate=0.1", "d/widen-factor=1,nesterov=true,learning-rate=0.2",
        "d/widen-factor=1,nesterov=false,learning-rate=0.1", "d/widen-factor=1,nesterov=false,learning-rate=0.2",
        "d/widen-factor=2,nesterov=true,learning-rate=0.1", "d/widen-factor=2,nesterov=true,learning-rate=0.2",
        "d/widen-factor=2,nesterov=false,learning-rate=0.1", "d/widen-factor=2,nesterov=false,learning-rate=0.2",
      ])
    // A list that is one value, and flags that are repeated.
    let blocks = ["--architecture", "wrn", "--block", "3,1,3", "--block", "3,3", "--milestones", "1,2"]
    #expect(try list(folder, blocks).map(\.directory) == ["d/block=3_1_3", "d/block=3_3"])
    #expect(try list(folder, ["--seed", "7"]).map(\.directory) == ["d/run"])
    let commands = try list(folder, ["--seed", "7", "--ranks", "3"]).map(\.command)
    #expect(
      commands[0].hasPrefix("mpirun -np 3 ") && commands[0].hasSuffix("wrn-dist train --seed=7 --output-dir=d/run"))
    let launched = try list(folder, ["--seed", "7", "--launcher", #"'a b'/train -np\ 4 --"#]).map(\.command)
    #expect(launched == ["'a b/train' '-np 4' -- --seed=7 --output-dir=d/run"])
    #expect(folder.names("") == ["grid.yaml"], "--list writes nothing")
  }

  @Test func namesAreSafe() throws {
    let folder = try TemporaryDirectory()
    let values = ["../../x", "a b", "\"q'", "<script>", "a_b", String(repeating: "x", count: 300)]
    let runs = try list(folder, values.flatMap { ["--data", $0] }).map(\.directory)
    #expect(Set(runs).count == values.count)
    for run in runs {
      #expect(run.wholeMatch(of: /d\/data=[A-Za-z0-9.+_-]{1,60}/) != nil, "\(run)")
    }
    // The name that the third run would get is that of the first.
    let similar = try list(folder, ["a_b_2", "a b", "a_b"].flatMap { ["--data", $0] }).map(\.directory)
    #expect(similar == ["d/data=a_b_2", "d/data=a_b", "d/data=a_b_2_2"])
  }

  @Test func theExampleIsThePostsExperiment() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let runs = try list(TemporaryDirectory(), [root.appendingPathComponent("Examples/sweeps/trax.yaml").path])
    #expect(runs.map(\.directory) == (1...4).map { "d/widen-factor=\($0)" })
    for run in runs { #expect(run.command.contains("--recipe=trax") && run.command.contains("--steps=5000")) }
  }

  @Test(arguments: [
    (["--widen-factr", "1"], "did you mean --widen-factor?"), (["--seed", "1,1"], "seed has the value 1 twice"),
    (["--seed", "a"], "'a' is invalid"), (["--seed"], "--seed needs a value"), (["no.yaml"], "cannot be read"),
    (["unknown.yaml"], "unknown.yaml, line 2: 'frobnicate' is not a setting"),
    (["empty.yaml"], "seed has no values, so the sweep has no runs"), (["nested.yaml"], "must be a number or a text"),
    (["--depth", "10,23"], "the run depth=23 of the sweep is invalid: --depth 23 is not"),
    (["a", "b"], "a second file"),
    (["--trace", "t"], "--trace cannot be a setting of a sweep"),
    (["own.yaml"], "--output-dir DIRECTORY on the command"),
    (["--index", "1"], "--index 1 is not a run of this sweep; it has 1"),
    (["--jobs", "0"], "--jobs 0 must lie between"),
    (["--ranks", "2", "--launcher", "x"], "give one of them"), (["--launcher", "'x"], "ends within a quotation"),
    (
      [
        "--seed=" + (0...100).map(String.init).joined(separator: ","),
        "--steps=" + (1...100).map(String.init).joined(separator: ","),
      ],
      "more than 10000 runs"
    ),
  ])
  func invalidSweeps(words: [String], message: String) throws {
    let folder = try TemporaryDirectory()
    try folder.write("unknown.yaml", "seed: 1\nfrobnicate: [1, 2]\n")
    try folder.write("empty.yaml", "seed: []\n")
    try folder.write("nested.yaml", "seed: [[1, 2]]\n")
    try folder.write("own.yaml", "output-dir: e\n")
    let output = try Job.sweep(folder, words).run()
    #expect(output.exitCode == 64 && output.errorLines.count == 1, "\(output.standardError)")
    #expect(output.standardError.contains(message), "\(output.standardError)")
    #expect(folder.names("d").isEmpty)
  }

  /// Settings that the grid refuses are refused from other sources, too.
  @Test(arguments: [
    ("WRN_TRACE", "t", "the variable WRN_TRACE: --trace cannot"),
    ("WRN_PROMETHEUS_TEXTFILE", "t", "the variable WRN_PROMETHEUS_TEXTFILE: --prometheus-textfile cannot"),
    ("WRN_RESUME", "never", "the variable WRN_RESUME: --resume cannot"),
    ("WRN_CONFIG", "c.yaml", "--config c.yaml, line 2: --resume cannot"),
  ])
  func settingsThatRunsCannotHaveInCommon(variable: String, value: String, message: String) throws {
    let folder = try TemporaryDirectory()
    try folder.write("c.yaml", "seed: 1\nresume: e/checkpoints/step-00000001\n")
    var job = Job.sweep(folder, ["--seed", "1,2"])
    job.environment = [variable: value]
    let output = try job.run()
    #expect(output.exitCode == 64 && output.errorLines.count == 1, "\(output.standardError)")
    #expect(output.standardError.contains("\(message) be a setting of a sweep"), "\(output.standardError)")
    #expect(folder.names("d").isEmpty)
  }

  /// The file of an earlier run has an output directory and `resume: auto`, which do no harm.
  @Test func theSettingsOfARunAreThoseOfASweep() throws {
    let folder = try TemporaryDirectory()
    try folder.write("config.yaml", "steps: 3\noutput-dir: e\nresume: auto\n")
    #expect(
      try list(folder, ["--config", "config.yaml", "--seed", "1,2"]).map(\.directory) == ["d/seed=1", "d/seed=2"])
  }

  /// Several tasks of an array write one record.
  @Test func tasksThatStartAtOnceAgree() throws {
    let folder = try TemporaryDirectory()
    let seeds = (0..<8).map(String.init).joined(separator: ",")
    for round in 0..<4 {
      let tasks = Tasks()
      let group = DispatchGroup()
      for index in 0..<8 {
        group.enter()
        Thread.detachNewThread {
          let words = ["--seed", seeds, "--index", "\(index)", "--launcher", "true"]
          tasks.add(try? Job.sweep(folder, words, output: "a/b-\(round)").run())
          group.leave()
        }
      }
      group.wait()
      #expect(tasks.outputs.count == 8)
      for output in tasks.outputs { #expect(output.exitCode == 0, "\(output.standardError)") }
      #expect(folder.names("a/b-\(round)") == ["sweep.yaml"])
      let record = folder.read("a/b-\(round)/sweep.yaml")
      #expect(record.contains("seed=7:") && record == folder.read("a/b-0/sweep.yaml"))
    }
  }

  /// What the threads of a test have run.
  private final class Tasks: Sendable {
    private let list = Mutex<[ProcessRun.Output]>([])
    var outputs: [ProcessRun.Output] { list.withLock { $0 } }
    func add(_ output: ProcessRun.Output?) { list.withLock { list in if let output { list.append(output) } } }
  }

  @Test func runsAreTrainedAndComparedAndThenUntouched() throws {
    let folder = try TemporaryDirectory()
    let words = ["--widen-factor", "1,2", "--steps", "6", "--jobs", "2"] + Job.small
    let output = try Job.sweep(folder, words).succeed()
    for (i, name) in ["widen-factor=1", "widen-factor=2"].enumerated() {
      #expect(output.lines.contains("[\(i + 1)/2] \(name): started"))
      #expect(output.lines.contains { $0.hasPrefix("[\(i + 1)/2] \(name): finished, accuracy ") })
      #expect(output.lines.contains { $0.hasPrefix("\(name)  finished ") })
    }
    let csv = folder.read("d/sweep.csv").split(whereSeparator: \.isNewline).map {
      $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    #expect(csv[0].prefix(6) == ["run", "widen-factor", "state", "exit_code", "step", "steps"])
    // The train loss is the mean since the report after step 5, so that of step 6.
    for (row, k) in zip(csv.dropFirst(), [1, 2]) {
      #expect(row.prefix(6) == ["widen-factor=\(k)", "\(k)", "finished", "0", "6", "6"])
      struct Line: Decodable { let kind: String, step: Int, loss: Double, accuracy: Double? }
      let lines = try folder.read("d/widen-factor=\(k)/metrics.jsonl").split(separator: "\n").map {
        try JSONDecoder().decode(Line.self, from: Data($0.utf8))
      }
      let (train, eval) = (
        try #require(lines.last { $0.kind == "train" }), try #require(lines.last { $0.kind == "eval" })
      )
      #expect(abs((Double(row[6]) ?? 0) - train.loss) < 1e-8 && abs((Double(row[7]) ?? 0) - eval.loss) < 1e-8)
      #expect(abs((Double(row[8]) ?? -1) - (eval.accuracy ?? 0)) < 1e-8)
    }
    let before = try ["widen-factor=1", "widen-factor=2"].map { try folder.state("d/\($0)") }
    let again = try Job.sweep(folder, words).succeed()
    #expect(again.lines.filter { $0.hasSuffix("finished already") }.count == 2)
    #expect(try ["widen-factor=1", "widen-factor=2"].map { try folder.state("d/\($0)") } == before)
    // A run of a sweep is bitwise the run that the same flags give.
    try Job(folder, ["train", "--widen-factor", "2", "--steps", "6", "--output-dir", "alone"] + Job.small).succeed()
    #expect(try folder.digest("alone") == folder.digest("d/widen-factor=2"))
    // --index trains one run in the foreground.
    let indexed = ["--index", "1", "--seed", "1,2", "--steps", "2"] + Job.small
    let one = try Job.sweep(folder, indexed, output: "e").succeed()
    #expect(one.standardOutput.contains("2 steps of 16 images") && folder.names("e") == ["seed=2", "sweep.yaml"])
  }

  @Test func aChangedSweepIsNamed() throws {
    let folder = try TemporaryDirectory()
    try folder.write("grid.yaml", "seed: [0, 1]\nsteps: 1\n")
    try Job.sweep(folder, ["grid.yaml"] + Job.small).succeed()
    for (text, message) in [
      ("seed: [0, 2]\nsteps: 1\n", "than grid.yaml gives now: the run seed=1 is missing now"),
      ("seed: [0, 1, 2]\nsteps: 1\n", "the run seed=2 is new"),
      ("seed: [0, 1]\nsteps: 2\n", "steps of the run seed=0 was 1 and is now 2"),
    ] {
      try folder.write("grid.yaml", text)
      let output = try Job.sweep(folder, ["grid.yaml"] + Job.small).run()
      #expect(output.exitCode == 64 && output.errorLines.count == 1, "\(output.standardError)")
      #expect(output.standardError.contains("d holds a sweep with other settings"), "\(output.standardError)")
      #expect(output.standardError.contains(message), "\(output.standardError)")
    }
    try folder.write("grid.yaml", "seed: [0, 1]\nsteps: 1\n")
    var job = Job.sweep(folder, ["grid.yaml"] + Job.small)
    job.environment = ["WRN_LEARNING_RATE": "0.5"]
    #expect(try job.run().standardError.contains("learning-rate of the run seed=0 was 0.01 and is now 0.5"))
    // Threads do not affect results.
    try Job.sweep(folder, ["grid.yaml", "--threads", "1"] + Job.small).succeed()
    try folder.write("file", "")
    #expect(try Job.sweep(folder, ["--steps", "1"] + Job.small, output: "file/d").run().exitCode == 73)
  }

  @Test func aFailedRunDoesNotStopTheOthers() throws {
    let folder = try TemporaryDirectory()
    // At this learning rate the loss is not finite within some steps.
    let output = try Job.sweep(folder, ["--learning-rate", "1e30,0.01", "--steps", "6"] + Job.small).run()
    #expect(output.exitCode == 76, "\(output.standardOutput)\(output.standardError)")
    #expect(output.standardOutput.contains("learning-rate=1e30: failed with exit code 76: the run diverged"))
    #expect(output.standardOutput.contains("learning-rate=0.01: finished"))
    #expect(output.lines.contains("1 of 2 runs failed; the same command tries them again"))
    #expect(folder.read("d/sweep.csv").contains("learning-rate=1e30,1e30,failed,76,"))
    let launched = ["--launcher", "no-such-program", "--steps", "1"] + Job.small
    let missing = try Job.sweep(folder, launched, output: "e").run()
    #expect(missing.exitCode == 69, "\(missing.standardError)")
  }
  /// The reason of a failure is that of this start, and any bytes may precede it.
  @Test func theReasonOfAFailure() throws {
    let folder = try TemporaryDirectory()
    try folder.writeScript(
      "fail",
      """
      #!/bin/bash
      echo >>starts
      case $(wc -l <starts) in
        1) echo 'wrn-dist: error: the first reason'; exit 76 ;;
        2) exit 65 ;;
        *) printf '\\xff\\nwrn-dist: error: the third reason\\n'; exit 74 ;;
      esac
      """)
    for (code, reason) in [
      (76, "76: the first reason"), (65, "65: see d/run/output.log"), (74, "74: the third reason"),
    ] {
      let output = try Job.sweep(folder, ["--seed", "1", "--launcher", "\(folder.path)/fail"]).run()
      #expect(output.exitCode == code, "\(output.standardError)")
      #expect(output.lines.contains("[1/1] run: failed with exit code \(reason)"), "\(output.standardOutput)")
    }
  }

  @Test func aRunDirectoryThatCannotBeWrittenIsNamed() throws {
    let folder = try TemporaryDirectory()
    // root may write to every directory, but not to a file as if it were one.
    try folder.write("d/seed=2", "")
    try FileManager.default.createDirectory(
      atPath: "\(folder.path)/e/run/output.log", withIntermediateDirectories: true)
    let words = ["--launcher", "true", "--seed"]
    let output = try Job.sweep(folder, words + ["1,2,3"]).run()
    #expect(output.exitCode == 73 && output.errorLines.count == 1, "\(output.standardError)")
    #expect(output.standardError.contains("the directory d/seed=2 of a run cannot be written"))
    #expect(output.standardOutput.contains("seed=1: finished") && !output.standardOutput.contains("seed=3: started"))
    let log = try Job.sweep(folder, words + ["1"], output: "e").run()
    #expect(log.exitCode == 73 && log.errorLines.count == 1, "\(log.standardError)")
    #expect(log.standardError.contains("e/run/output.log cannot be written"))
  }

  /// A run alone gets all cores, whatever `--jobs` is; so does the last one that is not finished.
  @Test func fewRunsLeaveNoCoreIdle() throws {
    let folder = try TemporaryDirectory()
    try folder.writeScript("cores", "#!/bin/bash\nexec grep Cpus_allowed_list /proc/self/status\n")
    let words = ["--seed", "1", "--jobs", "4", "--launcher", "\(folder.path)/cores"]
    try Job.sweep(folder, words).succeed()
    let own = try String(contentsOfFile: "/proc/thread-self/status", encoding: .utf8).split(separator: "\n")
    let cores = try #require(own.first { $0.hasPrefix("Cpus_allowed_list") })
    #expect(folder.read("d/run/output.log") == "\(cores)\n")
  }

  @Test func missingProgramsAreWarnedOfOnce() throws {
    let folder = try TemporaryDirectory()
    try FileManager.default.createDirectory(atPath: "\(folder.path)/bin", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: "\(folder.path)/bin/true", withDestinationPath: BuiltProducts.installed("true"))
    var job = Job.sweep(folder, ["--seed", "1,2,3", "--jobs", "2", "--launcher", "true"])
    job.environment = ["PATH": "\(folder.path)/bin"]
    let warnings = try job.succeed().standardError.split(separator: "\n").filter { $0.contains("warning: ") }
    #expect(warnings.count == 1, "\(warnings)")
    let warning = try #require(warnings.first)
    #expect(warning.contains("without setpriv ") && warning.contains("without taskset "))
  }
}
