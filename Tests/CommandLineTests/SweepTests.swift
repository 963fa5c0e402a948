import Foundation
import Glibc
import TestSupport
import Testing

/// Sweeps: grids, names, resumption, failures, and processes that end with the sweep.
@Suite struct SweepTests {
  private static let small = [
    "--depth", "10", "--batch-size", "16", "--data", "synthetic", "--eval-every", "5", "--eval-batches", "1",
  ]

  private func sweep(_ folder: TemporaryDirectory, _ words: [String], output: String = "d") -> Job {
    Job(folder, ["sweep"] + words + ["--output-dir", output])
  }

  /// Returns the directories of the runs that `--list` prints.
  private func list(_ folder: TemporaryDirectory, _ words: [String]) throws -> [(directory: String, command: String)] {
    let output = try sweep(folder, words + ["--list"]).succeed()
    return try output.lines.enumerated().map { index, line in
      let fields = line.split(separator: "\t").map(String.init)
      try #require(fields.count == 3 && fields[0] == "\(index)", "\(line)")
      return (fields[1], fields[2])
    }
  }

  /// The files of a directory with their contents and times of change.
  private func state(_ folder: TemporaryDirectory, _ directory: String) throws -> [String: String] {
    let root = folder.url.appendingPathComponent(directory)
    var result: [String: String] = [:]
    for case let name as String in try #require(FileManager.default.enumerator(atPath: root.path)) {
      var status = stat()
      #expect(stat(root.appendingPathComponent(name).path, &status) == 0)
      result[name] = "\(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }
    return result
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
      commands[0].hasPrefix("mpirun -np 3 ") && commands[0].hasSuffix("wrn-dist train --seed=7 --output-dir d/run"))
    let launched = try list(folder, ["--seed", "7", "--launcher", #"'a b'/train -np\ 4 --"#]).map(\.command)
    #expect(launched == ["'a b/train' '-np 4' -- --seed=7 --output-dir d/run"])
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
    let output = try sweep(folder, words).run()
    #expect(output.exitCode == 64 && output.errorLines.count == 1, "\(output.standardError)")
    #expect(output.standardError.contains(message), "\(output.standardError)")
    #expect(folder.names("d").isEmpty)
  }

  @Test func runsAreTrainedAndComparedAndThenUntouched() throws {
    let folder = try TemporaryDirectory()
    let words = ["--widen-factor", "1,2", "--steps", "6", "--jobs", "2"] + Self.small
    let output = try sweep(folder, words).succeed()
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
    let before = try ["widen-factor=1", "widen-factor=2"].map { try state(folder, "d/\($0)") }
    let again = try sweep(folder, words).succeed()
    #expect(again.lines.filter { $0.hasSuffix("finished already") }.count == 2)
    #expect(try ["widen-factor=1", "widen-factor=2"].map { try state(folder, "d/\($0)") } == before)
    // A run of a sweep is bitwise the run that the same flags give.
    try Job(folder, ["train", "--widen-factor", "2", "--steps", "6", "--output-dir", "alone"] + Self.small).succeed()
    #expect(try folder.digest("alone") == folder.digest("d/widen-factor=2"))
    // --index trains one run in the foreground.
    let one = try sweep(folder, ["--index", "1", "--seed", "1,2", "--steps", "2"] + Self.small, output: "e").succeed()
    #expect(one.standardOutput.contains("2 steps of 16 images") && folder.names("e") == ["seed=2", "sweep.yaml"])
  }

  @Test func aChangedSweepIsNamed() throws {
    let folder = try TemporaryDirectory()
    try folder.write("grid.yaml", "seed: [0, 1]\nsteps: 1\n")
    try sweep(folder, ["grid.yaml"] + Self.small).succeed()
    for (text, message) in [
      ("seed: [0, 2]\nsteps: 1\n", "than grid.yaml gives now: the run seed=1 is missing now"),
      ("seed: [0, 1, 2]\nsteps: 1\n", "the run seed=2 is new"),
      ("seed: [0, 1]\nsteps: 2\n", "steps of the run seed=0 was 1 and is now 2"),
    ] {
      try folder.write("grid.yaml", text)
      let output = try sweep(folder, ["grid.yaml"] + Self.small).run()
      #expect(output.exitCode == 64 && output.errorLines.count == 1, "\(output.standardError)")
      #expect(output.standardError.contains("d holds a sweep with other settings"), "\(output.standardError)")
      #expect(output.standardError.contains(message), "\(output.standardError)")
    }
    try folder.write("grid.yaml", "seed: [0, 1]\nsteps: 1\n")
    var job = sweep(folder, ["grid.yaml"] + Self.small)
    job.environment = ["WRN_LEARNING_RATE": "0.5"]
    #expect(try job.run().standardError.contains("learning-rate of the run seed=0 was 0.01 and is now 0.5"))
    // Threads do not affect results.
    try sweep(folder, ["grid.yaml", "--threads", "1"] + Self.small).succeed()
    try folder.write("file", "")
    #expect(try sweep(folder, ["--steps", "1"] + Self.small, output: "file/d").run().exitCode == 73)
  }

  @Test func aFailedRunDoesNotStopTheOthers() throws {
    let folder = try TemporaryDirectory()
    // At this learning rate the loss is not finite within some steps.
    let output = try sweep(folder, ["--learning-rate", "1e30,0.01", "--steps", "6"] + Self.small).run()
    #expect(output.exitCode == 76, "\(output.standardOutput)\(output.standardError)")
    #expect(output.standardOutput.contains("learning-rate=1e30: failed with exit code 76: the run diverged"))
    #expect(output.standardOutput.contains("learning-rate=0.01: finished"))
    #expect(output.lines.contains("1 of 2 runs failed; the same command tries them again"))
    #expect(folder.read("d/sweep.csv").contains("learning-rate=1e30,1e30,failed,76,"))
    let missing = try sweep(folder, ["--launcher", "no-such-program", "--steps", "1"] + Self.small, output: "e").run()
    #expect(missing.exitCode == 69, "\(missing.standardError)")
  }

  /// Processes below this one whose command line names a directory.
  private func processes(naming text: String) -> [pid_t] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { process in
      let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") ?? Data()
      return line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.contains { $0.contains(text) }
    }
  }

  @Test(arguments: [nil, 2]) func anInterruptedSweepResumes(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let directory = folder.url.appendingPathComponent("d").path
    let rankWords = ranks.map { ["--ranks", "\($0)"] } ?? []
    let words = ["--seed", "0,1,2", "--steps", "300", "--checkpoint-every", "100"] + rankWords + Self.small
    let first = try sweep(folder, words, output: directory).run { child in
      // The first run has to end before.
      for _ in 0..<3 { if (try? waitForLines(5, in: "\(directory)/seed=1/metrics.jsonl")) != nil { break } }
      try waitForLines(5, in: "\(directory)/seed=1/metrics.jsonl")
      kill(child, SIGINT)
    }
    #expect(first.exitCode == 75, "\(first.standardOutput)\(first.standardError)")
    #expect(first.standardOutput.contains("[2/3] seed=1: stopped"))
    #expect(first.lines.contains("stopped on request; the same command resumes the sweep"))
    #expect(!first.standardOutput.contains("seed=2: started"))
    #expect(processes(naming: directory).isEmpty, "no process outlives the sweep")
    let finished = try state(folder, "d/seed=0")
    let second = try sweep(folder, words, output: directory).succeed()
    #expect(second.standardOutput.contains("[1/3] seed=0: finished already"))
    #expect(second.standardOutput.contains("[3/3] seed=2: finished, accuracy"))
    #expect(try state(folder, "d/seed=0") == finished)
    #expect(folder.read("d/seed=1/output.log").contains("resuming after step"))
    try Job(folder, ["train", "--seed", "1", "--steps", "300", "--output-dir", "alone"] + Self.small).succeed()
    #expect(try folder.digest("alone") == folder.digest("d/seed=1"))
    #expect(folder.metrics("alone") == folder.metrics("d/seed=1"))
  }

  /// If the sweep is killed, its runs write a checkpoint and end.
  @Test func aKilledSweepLeavesNoOrphans() throws {
    let folder = try TemporaryDirectory()
    let directory = folder.url.appendingPathComponent("d").path
    let output = try sweep(folder, ["--steps", "100000"] + Self.small, output: directory).run { child in
      try waitForLines(5, in: "\(directory)/run/metrics.jsonl")
      kill(child, SIGKILL)
    }
    #expect(output.exitCode == 137)
    for _ in 0..<1000 where !processes(naming: directory).isEmpty { usleep(20_000) }
    #expect(processes(naming: directory).isEmpty)
    #expect(folder.names("d/run/checkpoints").contains("latest"))
  }

  @Test func twoInterruptionsEndAtOnce() throws {
    let folder = try TemporaryDirectory()
    let directory = folder.url.appendingPathComponent("d").path
    let words = ["--steps", "100000", "--ranks", "2"] + Self.small
    let output = try sweep(folder, words, output: directory).run { child in
      try waitForLines(5, in: "\(directory)/run/metrics.jsonl")
      kill(child, SIGTERM)
      usleep(1_000)
      kill(child, SIGINT)
    }
    #expect(output.exitCode != 0)
    #expect(processes(naming: directory).isEmpty)
  }

  @Test func theStatusOfARun() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    func status(_ run: String = "run") throws -> String { try Job(folder, ["status", run]).succeed().standardOutput }
    let job = Job.training(folder, output: "run", ["--steps", "100000"])
    let stopped = try job.run { child in
      try waitForLines(3, in: log)
      let text = try status()
      #expect(text.contains("state       running, process \(child) on "), "\(text)")
      #expect(text.firstMatch(of: /step +[0-9]+ of 100000 \(0 %\)/) != nil && text.contains("time left"))
      #expect(text.contains("checkpoint  none"))
      kill(child, SIGTERM)
    }
    #expect(stopped.exitCode == 75)
    #expect(try status().contains("state       stopped\n") && status().contains("checkpoint  after step "))
    let killed = try job.run { child in
      try waitForLines(folder.read("run/metrics.jsonl").split(separator: "\n").count + 3, in: log)
      kill(child, SIGKILL)
    }
    #expect(killed.exitCode == 137)
    #expect(try status().contains("state       dead, was process "))
    #expect(try status().contains("the same command with --output-dir run"))
    try Job.training(folder, output: "short", ["--steps", "2"]).succeed()
    #expect(try status("short").contains("state       finished\n") && status("short").contains("2 of 2 (100 %)"))
    let json = try Job(folder, ["status", "--json", "short", "run"]).succeed()
    #expect(json.standardOutput.contains(#""state":"finished","step":2,"steps":2"#), "\(json.standardOutput)")
    let missing = try Job(folder, ["status", "nowhere"]).run()
    #expect(missing.exitCode == 65 && missing.errorLines.count == 1)
    // Damaged files leave facts out.
    try folder.write("short/metrics.jsonl", "{\"kind\":\"tr\u{0}")
    try folder.write("short/config.yaml", "][")
    #expect(try status("short").contains("state       stopped"))
  }
}
