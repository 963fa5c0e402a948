import Foundation
import Glibc
import TestSupport
import Testing

/// Sweeps that are stopped: resumption, signals, and processes that end with the sweep.
@Suite struct SweepStopTests {
  @Test(arguments: [nil, 2]) func anInterruptedSweepResumes(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let directory = folder.url.appendingPathComponent("d").path
    let rankWords = ranks.map { ["--ranks", "\($0)"] } ?? []
    let words = ["--seed", "0,1,2", "--steps", "300", "--checkpoint-every", "100"] + rankWords + Job.small
    let first = try Job.sweep(folder, words, output: directory).run { child in
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
    let finished = try folder.state("d/seed=0")
    let second = try Job.sweep(folder, words, output: directory).succeed()
    #expect(second.standardOutput.contains("[1/3] seed=0: finished already"))
    #expect(second.standardOutput.contains("[3/3] seed=2: finished, accuracy"))
    #expect(try folder.state("d/seed=0") == finished)
    #expect(folder.read("d/seed=1/output.log").contains("resuming after step"))
    try Job(folder, ["train", "--seed", "1", "--steps", "300", "--output-dir", "alone"] + Job.small).succeed()
    #expect(try folder.digest("alone") == folder.digest("d/seed=1"))
    #expect(folder.metrics("alone") == folder.metrics("d/seed=1"))
  }

  /// If the sweep is killed, its runs write a checkpoint and end.
  @Test func aKilledSweepLeavesNoOrphans() throws {
    let folder = try TemporaryDirectory()
    let directory = folder.url.appendingPathComponent("d").path
    let output = try Job.sweep(folder, ["--steps", "100000"] + Job.small, output: directory).run { child in
      try waitForLines(5, in: "\(directory)/run/metrics.jsonl")
      kill(child, SIGKILL)
    }
    #expect(output.exitCode == 137)
    for _ in 0..<1000 where !processes(naming: directory).isEmpty { usleep(20_000) }
    #expect(processes(naming: directory).isEmpty)
    #expect(folder.names("d/run/checkpoints").contains("latest"))
  }

  /// The run ignores the stop request of the first interruption, and ends by the second.
  @Test(arguments: [[], ["--index", "0"]]) func twoInterruptionsEndAtOnce(more: [String]) throws {
    let folder = try TemporaryDirectory()
    let words = ["--launcher", try folder.writeSignalRecorder()] + more
    let output = try Job.sweep(folder, words, output: "\(folder.path)/d").run { child in
      try waitForLines(1, in: folder.signalsPath)
      kill(child, SIGTERM)
      try waitForLines(2, in: folder.signalsPath)
      #expect(folder.signals == ["ready", "USR1"])
      kill(child, SIGINT)
    }
    #expect(output.exitCode == 75 && !output.timedOut, "\(output.standardOutput)\(output.standardError)")
    #expect(folder.signals == ["ready", "USR1", "TERM"])
    #expect(processes(naming: "\(folder.path)/d").isEmpty)
  }

  @Test func twoInterruptionsEndAllRanks() throws {
    let folder = try TemporaryDirectory()
    let directory = folder.url.appendingPathComponent("d").path
    let words = ["--steps", "100000", "--ranks", "2"] + Job.small
    let output = try Job.sweep(folder, words, output: directory).run { child in
      try waitForLines(5, in: "\(directory)/run/metrics.jsonl")
      kill(child, SIGTERM)
      usleep(1_000)
      kill(child, SIGINT)
    }
    #expect(output.exitCode == 75, "\(output.standardOutput)\(output.standardError)")
    #expect(processes(naming: directory).isEmpty)
  }

  /// A terminal that closes sends SIGHUP twice, and runs still write their checkpoints.
  @Test func twoHangupsAreOneStopRequest() throws {
    let folder = try TemporaryDirectory()
    var job = Job.sweep(folder, ["--launcher", try folder.writeSignalRecorder()])
    job.environment = ["ON_USR1": "stop"]
    let output = try job.run { child in
      try waitForLines(1, in: folder.signalsPath)
      kill(child, SIGHUP)
      try waitForLines(2, in: folder.signalsPath)
      kill(child, SIGHUP)
    }
    #expect(output.exitCode == 75, "\(output.standardOutput)\(output.standardError)")
    #expect(folder.signals == ["ready", "USR1"])
  }

  /// SIGHUP stays ignored, as after `nohup`; SIGCHLD does not, because the sweep would never learn of a run's end.
  @Test func inheritedSignals() throws {
    let folder = try TemporaryDirectory()
    let job = Job.sweep(folder, ["--launcher", try folder.writeSignalRecorder()])
    let words = ["--ignore-signal=HUP,CHLD", try BuiltProducts.executable("wrn-dist")] + job.arguments
    let run = ProcessRun(
      try BuiltProducts.installed("env"), words, environment: MPIRun.environment(adding: ["ON_USR1": "stop"]),
      workingFolder: folder.path, limit: .seconds(120))
    let output = try run.run { child in
      try waitForLines(1, in: folder.signalsPath)
      let status = try String(contentsOfFile: "/proc/\(child)/status", encoding: .utf8)
      let mask = try #require(status.firstMatch(of: /SigIgn:\s*([0-9a-f]+)/)?.output.1)
      let ignored = try #require(UInt64(mask, radix: 16))
      #expect(ignored >> UInt64(SIGHUP - 1) & 1 == 1 && ignored >> UInt64(SIGCHLD - 1) & 1 == 0, "\(mask)")
      kill(child, SIGTERM)
    }
    #expect(output.exitCode == 75 && !output.timedOut, "\(output.standardOutput)\(output.standardError)")
  }

  /// A task of an array whose run dies of the stop request has stopped, so that it is requeued.
  @Test func aTaskWhoseRunIsEndedByASignalIsStopped() throws {
    let folder = try TemporaryDirectory()
    var job = Job.sweep(folder, ["--launcher", try folder.writeSignalRecorder(), "--index", "0"])
    job.environment = ["ON_USR1": "die"]
    let output = try job.run { child in
      try waitForLines(1, in: folder.signalsPath)
      kill(child, SIGUSR1)
    }
    #expect(output.exitCode == 75, "\(output.standardOutput)\(output.standardError)")
    #expect(folder.signals == ["ready", "USR1"])
  }

  /// An error of the sweep stops the runs in progress, and two interruptions end them.
  @Test func anErrorStopsTheRunsInProgress() throws {
    let folder = try TemporaryDirectory()
    try folder.write("d/seed=3", "")
    let words = ["--seed", "1,2,3", "--jobs", "2", "--launcher", try folder.writeSignalRecorder()]
    let output = try Job.sweep(folder, words).run { child in
      try waitForLines(2, in: folder.signalsPath)
      #expect(folder.signals == ["ready", "USR1"])
      kill(child, SIGTERM)
      kill(child, SIGINT)
    }
    #expect(output.exitCode == 73 && output.errorLines.count == 1 && !output.timedOut, "\(output.standardError)")
    #expect(output.standardError.contains("the directory d/seed=3 of a run cannot be written"))
    #expect(output.lines.contains("[1/3] seed=1: stopped"), "\(output.standardOutput)")
    #expect(folder.signals == ["ready", "USR1", "TERM"])
  }
}
