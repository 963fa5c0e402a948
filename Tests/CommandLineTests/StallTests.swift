import Foundation
import Glibc
import TestSupport
import Testing

/// A stopped rank is named and the job ends, whichever it is.
@Suite struct StallTests {
  @Test(arguments: [(2, 0), (2, 1), (3, 0), (3, 2)])
  func aStoppedRankEndsTheJob(ranks: Int, stopped: Int) throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let job = Job.training(
      folder, ranks: ranks, output: "run", ["--steps", "100000", "--checkpoint-every", "2", "--stall-timeout", "3"])
    var processes: [pid_t] = []
    let output = try job.run { mpirun in
      try waitForLines(5, in: log)
      processes = try children(of: mpirun)
      // mpirun starts the ranks in order.
      kill(try #require(processes.sorted().dropFirst(stopped).first), SIGSTOP)
    }
    // mpirun's own timeout would give 110.
    #expect(output.exitCode == 69, "\(output.standardError)")
    let host = ProcessInfo.processInfo.hostName
    let line = try #require(output.errorLines.first)
    let words = try Regex("rank \(stopped) on \(host) has not answered for [0-9]+ s, last seen in the ")
    #expect(line.firstMatch(of: words) != nil, "\(output.standardError)")
    #expect(
      line.contains(/(has|have) waited for [0-9]+ s in the .* of step [0-9]+.*; start again to resume/), "\(line)")
    // mpirun has sent SIGKILL; a process that was stopped takes a moment to die of it.
    for process in processes {
      for _ in 0..<500 where isRunning(process) { usleep(10_000) }
      #expect(!isRunning(process), "no orphan")
    }
    try Job(folder, ["inspect", "run"]).succeed()
  }

  /// A rank that is stopped before MPI has started, when no watchdog is connected.
  @Test(arguments: [(2, 0), (3, 1)])
  func aRankThatDoesNotStart(ranks: Int, stopped: Int) throws {
    let folder = try TemporaryDirectory()
    let script = "[ \"$OMPI_COMM_WORLD_RANK\" != \(stopped) ] || kill -STOP $$; exec \"$@\""
    let program = try BuiltProducts.executable("wrn-dist")
    let flags = Job.training(folder, output: "run", ["--steps", "3", "--stall-timeout", "3"]).arguments
    var job = MPIRun(ranks: ranks, "/bin/bash", ["-c", script, "rank", program] + flags)
    job.workingFolder = folder.path
    let output = try job.run()
    #expect(output.exitCode == 69, "\(output.standardError)")
    // Open MPI may print an error of the rank that it continues to end it.
    let lines = output.errorLines.filter { $0.hasPrefix("[rank ") || $0.hasPrefix("wrn-dist: ") }
    #expect(lines.count == 1, "\(output.standardError)")
    let line = lines.first ?? ""
    #expect(line.contains("not all ranks have started after 3 s (--stall-timeout)"), "\(output.standardError)")
    #expect(line.hasPrefix("[rank \(stopped == 0 ? 1 : 0) on "), "\(line)")
  }

  /// A rank that is stopped for a shorter time than the limit has no effect but a warning.
  @Test func aShortStopIsHarmless() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let steps = ["--steps", "120"]
    let output = try Job.training(folder, ranks: 2, output: "run", steps + ["--stall-timeout", "30"]).run { mpirun in
      try waitForLines(5, in: log)
      let rank = try #require(try children(of: mpirun).max())
      kill(rank, SIGSTOP)
      usleep(13_000_000)
      kill(rank, SIGCONT)
    }
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.standardError.components(separatedBy: "warning: rank 1 on ").count == 2, "\(output.standardError)")
    try Job.training(folder, output: "whole", steps).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  /// A rank that hangs in any phase is named with the phase, its watchdog being alive.
  @Test(arguments: ["data", "forward", "backward", "update", "checkpoint", "evaluation"], [0, 1])
  func aRankThatHangsIsNamedWithItsPhase(phase: String, rank: Int) throws {
    let folder = try TemporaryDirectory()
    var job = Job.training(
      folder, ranks: 2, output: "run",
      ["--steps", "8", "--checkpoint-every", "4", "--eval-every", "4", "--eval-batches", "2", "--stall-timeout", "2"])
    job.environment = ["WRN_FAULT": "rank=\(rank),step=4,phase=\(phase),act=hang", "WRN_ALLOW_FAULTS": "1"]
    let output = try job.run()
    #expect(output.exitCode == 69, "\(output.standardError)")
    let name = [
      "data": "wait for images", "forward": "forward pass", "backward": "backward pass", "update": "update",
      "checkpoint": "checkpoint", "evaluation": "evaluation",
    ][phase]
    let words = try Regex(
      "wrn-dist: error: rank \(rank) on \(ProcessInfo.processInfo.hostName) has made no progress for [0-9]+ s in the "
        + "\(name ?? "") of step 4[ ,]")
    #expect(output.errorLines.first?.firstMatch(of: words) != nil, "\(output.standardError)")
  }

  /// A slow rank is no stalled rank.
  @Test func aSlowRankIsNotBlamed() throws {
    let folder = try TemporaryDirectory()
    var job = Job.training(folder, ranks: 2, output: "run", ["--steps", "4", "--stall-timeout", "3"])
    job.environment = ["WRN_FAULT": "rank=1,step=2,act=slow,milliseconds=2000", "WRN_ALLOW_FAULTS": "1"]
    try job.succeed()
    try Job.training(folder, output: "whole", ["--steps", "4"]).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  /// Rank 0 evaluates alone for longer than the limit.
  @Test func aLongEvaluationIsNoStall() throws {
    let folder = try TemporaryDirectory()
    let output = try Job.training(
      folder, ranks: 2, output: "run",
      [
        "--steps", "1", "--eval-every", "1", "--eval-batches", "4000", "--eval-ranks", "root", "--stall-timeout", "5",
      ]
    ).succeed()
    #expect(!output.standardError.contains("has made no progress"))
  }
}

/// Returns whether a process exists and has not ended; one that has ended may wait for a parent that never asks for its code.
private func isRunning(_ process: pid_t) -> Bool {
  let text = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)) ?? ""
  return text.split(separator: ")").last.map { !$0.hasPrefix(" Z") } ?? false
}

/// Returns the child processes of a process.
func children(of parent: pid_t) throws -> [pid_t] {
  let path = "/proc/\(parent)/task/\(parent)/children"
  return try String(contentsOfFile: path, encoding: .utf8).split(separator: " ").compactMap {
    pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines))
  }
}
