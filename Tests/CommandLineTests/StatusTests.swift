import Foundation
import Glibc
import TestSupport
import Testing

/// `wrn-dist status`, also of runs that are killed, incomplete or damaged.
@Suite struct StatusTests {
  private func status(_ folder: TemporaryDirectory, _ words: [String]) throws -> String {
    try Job(folder, ["status"] + words).succeed().standardOutput
  }

  @Test func theStatusOfARun() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    func status(_ run: String = "run") throws -> String { try self.status(folder, [run]) }
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
    let json = try self.status(folder, ["--json", "short", "run"])
    #expect(json.contains(#""state":"finished","step":2,"steps":2"#), "\(json)")
    let missing = try Job(folder, ["status", "nowhere"]).run()
    #expect(missing.exitCode == 65 && missing.errorLines.count == 1)
    // Damaged files leave facts out.
    try folder.write("short/metrics.jsonl", "{\"kind\":\"tr\u{0}")
    try folder.write("short/config.yaml", "][")
    #expect(try status("short").contains("state       stopped"))
  }

  /// A run is finished when its weights and their average are evaluated on the held-out and the test images.
  @Test func anIncompleteEvaluationIsCompleted() throws {
    let folder = try TemporaryDirectory()
    let words = ["--steps", "6", "--validation", "64", "--average-decay", "0.9"] + Job.small
    try Job.sweep(folder, words).succeed()
    let complete = folder.metrics("d/run")
    let lines = folder.read("d/run/metrics.jsonl").split(separator: "\n")
    try #require(lines.suffix(4).allSatisfy { $0.hasPrefix(#"{"kind":"eval","step":6,"#) })
    #expect(try status(folder, ["d/run"]).contains("state       finished\n"))
    for (missing, more) in [(1, []), (2, ["--index", "0"]), (4, [])] {
      try folder.write("d/run/metrics.jsonl", lines.dropLast(missing).joined(separator: "\n") + "\n")
      #expect(try status(folder, ["d/run"]).contains("state       stopped\n"), "\(missing) lines are missing")
      let again = try Job.sweep(folder, more + words).succeed()
      #expect(!again.standardOutput.contains("finished already"), "\(missing) lines are missing")
      #expect(folder.metrics("d/run") == complete)
      #expect(try status(folder, ["d/run"]).contains("state       finished\n"))
    }
    #expect(try Job.sweep(folder, words).succeed().standardOutput.contains("[1/1] run: finished already"))
    #expect(
      try Job.sweep(folder, ["--index", "0"] + words).succeed().standardOutput == "run: finished already\n")
  }

  /// Numbers that JSON lacks leave facts out: a loss that is not finite, a step without a duration.
  @Test func numbersThatAreNotFinite() throws {
    let folder = try TemporaryDirectory()
    func line(_ step: Int, speed: String) -> String {
      #"{"kind":"train","step":\#(step),"loss":null,"learning_rate":0.01,"images_per_second":\#(speed),"#
        + #""compute_seconds":0,"communication_seconds":0,"data_seconds":0}"# + "\n"
    }
    try folder.write("run/config.yaml", "steps: 10\nbatch-size: 16\n")
    for (speed, hasSpeed) in [("0", false), ("null", false), ("100", true)] {
      let evaluation = #"{"kind":"eval","step":2,"loss":null,"accuracy":null,"examples":16}"# + "\n"
      try folder.write("run/metrics.jsonl", line(1, speed: "0") + line(2, speed: speed) + evaluation + #"{"kind":"#)
      let json = try status(folder, ["--json", "run"])
      #expect(json.contains(#""learning_rate":0.01,"#) && json.contains(#""step":2,"steps":10"#), "\(json)")
      #expect(json.contains(#""evaluated_step":2"#) && !json.contains("loss") && !json.contains("accuracy"))
      #expect(json.contains(#""images_per_second":100"#) == hasSpeed && !json.contains("communication_share"))
    }
  }
}
