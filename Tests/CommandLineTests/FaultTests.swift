import Foundation
import Glibc
import TestSupport
import Testing

/// Failures during a run: the job ends, reports the cause once, and its checkpoints stay valid.
@Suite struct FaultTests {
  @Test func aKilledRankEndsTheJobAndNothingIsLost() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let job = Job.training(
      folder, ranks: 3, output: "run", ["--steps", "100000", "--checkpoint-every", "2"])
    let output = try job.run { mpirun in
      try waitForLines(5, in: log)
      let ranks = try children(of: mpirun)
      #expect(ranks.count == 3)
      kill(try #require(ranks.last), SIGKILL)
    }
    // mpirun's own timeout would give 110, if the other ranks waited forever.
    #expect(output.exitCode == 137, "\(output.standardError)")
    try Job(folder, ["inspect", "run"]).succeed()
    let saved = folder.read("run/checkpoints/latest").filter(\.isNumber)
    let steps = ["--steps", "\((Int(saved) ?? 0) + 1)"]
    try Job.training(folder, ranks: 2, output: "run", steps).succeed()
    try Job.training(folder, output: "whole", steps).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  /// A rank killed in any phase of a step: the run that is started again has the undisturbed result and one line per step.
  @Test(arguments: [
    ("forward", 1), ("backward", 0), ("update", 1), ("checkpoint", 0), ("evaluation", 0), ("evaluation", 1),
  ])
  func aRankKilledInAPhase(phase: String, rank: Int) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "7", "--checkpoint-every", "2", "--eval-every", "3", "--eval-batches", "2"]
    var job = Job.training(folder, ranks: 2, output: "run", flags)
    job.environment = ["WRN_FAULT": "rank=\(rank),step=6,phase=\(phase),act=kill", "WRN_ALLOW_FAULTS": "1"]
    #expect(try job.run().exitCode == 137)
    try Job.training(folder, ranks: 3, output: "run", flags).succeed()
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
    #expect(folder.metrics("run") == folder.metrics("whole"))
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000004", "step-00000006", "step-00000007"])
  }

  /// A fault with `once` does not occur in the run that is started again with the same environment.
  @Test func aFaultThatOccursOnce() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "5", "--checkpoint-every", "2"]
    var job = Job.training(folder, ranks: 2, output: "run", flags)
    job.environment = ["WRN_FAULT": "rank=1,step=4,phase=update,act=exit,once=struck", "WRN_ALLOW_FAULTS": "1"]
    #expect(try job.run().exitCode == 3)
    #expect(folder.names("").contains("struck"))
    try job.succeed()
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  @Test func recordsDamagedDuringARun() throws {
    for ranks in [nil, 3] {
      let folder = try TemporaryDirectory()
      try Job(folder, ["data", "synthesize", "data"]).succeed()
      let job = Job.training(
        folder, ranks: ranks, output: "run", ["--data", "data", "--shuffle", "none", "--steps", "100000"])
      let output = try job.run { _ in
        try waitForLines(5, in: folder.url.appendingPathComponent("run/metrics.jsonl").path)
        let file = try FileHandle(forUpdating: folder.url.appendingPathComponent("data/data_batch_1.bin"))
        let recordCount = try file.seekToEnd() / 3073
        // One of every batch of 16, always of the same rank.
        for record in stride(from: 2, to: recordCount, by: 16) {
          try file.seek(toOffset: 3073 * record)
          try file.write(contentsOf: [77])
        }
        try file.close()
      }
      #expect(output.exitCode == 65, "\(output.standardError)")
      #expect(output.errorLines.count == 1)
      let line = output.errorLines.first ?? ""
      #expect(line.contains(#/data_batch_1.bin: record [0-9]+ has label 77, above 9/#), "\(line)")
      let prefix = #/^\[rank [0-2] of 3 on .+\] error: /#
      if ranks != nil { #expect(line.firstMatch(of: prefix) != nil, "\(line)") }
    }
  }

  /// The page of a mapped file that is gone raises SIGBUS.
  @Test(arguments: [nil, 2])
  func aDataFileTruncatedDuringARun(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    try Job(folder, ["data", "synthesize", "data"]).succeed()
    let job = Job.training(folder, ranks: ranks, output: "run", ["--data", "data", "--steps", "100000"])
    let output = try job.run { _ in
      try waitForLines(5, in: folder.url.appendingPathComponent("run/metrics.jsonl").path)
      truncate(folder.url.appendingPathComponent("data/data_batch_1.bin").path, 0)
    }
    #expect(output.exitCode == 65, "\(output.standardError)")
    let lines = output.errorLines
    #expect(!lines.isEmpty && lines.allSatisfy { $0.contains("data/data_batch_1.bin was truncated") }, "\(lines)")
    let prefix = #/^(wrn-dist: |\[rank [01] of 2 on .+\] )error: data/#
    #expect(lines.allSatisfy { $0.firstMatch(of: prefix) != nil }, "\(lines)")
  }

  @Test func aFullDisk() throws {
    let folder = try TemporaryDirectory()
    let program = try BuiltProducts.executable("wrn-dist")
    let flags = "--depth 10 --batch-size 16 --data synthetic --eval-every 0 --steps 3 --output-dir run"
    // A file of more than 100 KiB cannot be written; the weights need 400.
    let output = try ProcessRun(
      "/bin/bash", ["-c", "ulimit -f 100; exec '\(program)' \(flags)"],
      environment: MPIRun.environment(adding: [:]), workingFolder: folder.path
    ).run()
    #expect(output.exitCode == 74, "\(output.standardError)")
    #expect(output.errorLines.count == 1)
    #expect(output.standardError.contains("model.safetensors failed: File too large"))
    #expect(folder.names("run/checkpoints").isEmpty, "no partial files")
  }

  @Test func aRunThatDiverges() throws {
    let folder = try TemporaryDirectory()
    for ranks in [nil, 2] {
      let output = try Job.training(
        folder, ranks: ranks, output: "run", ["--steps", "50", "--learning-rate", "1e30"]
      ).run()
      #expect(output.exitCode == 76, "\(output.standardError)")
      #expect(output.errorLines.count == 1)
      #expect(output.standardError.contains("the run diverged"))
      #expect(folder.names("run/checkpoints").isEmpty)
    }
  }

  /// The advice of the message works, and resuming, which it once recommended, does not.
  @Test func whatTheMessageOfADivergedRunAdvises() throws {
    let folder = try TemporaryDirectory()
    func job(_ output: String, _ steps: Int, rate: String, _ flags: [String] = []) -> Job {
      Job.training(
        folder, output: output,
        ["--steps", "\(steps)", "--checkpoint-every", "1", "--learning-rate", rate] + flags)
    }
    // One update at this rate leaves finite parameters, whose loss is not finite.
    let diverged = try job("run", 5, rate: "1e30").run()
    #expect(diverged.exitCode == 76, "\(diverged.standardError)")
    let advice = "start a new run with a lower --learning-rate and another --output-dir"
    #expect(diverged.standardError.contains(advice) && diverged.standardError.contains("--init CHECKPOINT"))
    #expect(!diverged.standardError.contains("resume"), "\(diverged.standardError)")

    #expect(try job("run", 5, rate: "1e30").run().exitCode == 76, "the same numbers again")
    let refused = try job("run", 5, rate: "0.01").run()
    #expect(refused.exitCode == 64 && refused.standardError.contains("--learning-rate"), "\(refused.standardError)")
    try job("fresh", 2, rate: "0.01").succeed()
    try job("saved", 2, rate: "0.01").succeed()
    try job("initialized", 2, rate: "0.001", ["--init", "saved"]).succeed()
  }

  @Test func aRankBoundToFewerCoresThanThreads() throws {
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let folder = try TemporaryDirectory()
    let output = try ProcessRun(
      BuiltProducts.installed("taskset"),
      ["-c", "0", BuiltProducts.executable("wrn-dist"), "train", "--threads", "2", "--output-dir", "run"],
      environment: MPIRun.environment(adding: [:]), workingFolder: folder.path
    ).run { child in if cores == 1 { kill(child, SIGKILL) } }
    // On a machine of a single core a rank is never bound to fewer cores.
    guard cores > 1 else { return }
    #expect(output.exitCode == 64)
    #expect(output.errorLines.count == 1)
    #expect(output.standardError.contains("bound to 1 core of \(cores) but --threads 2 asks for more"))
    #expect(folder.names("run").isEmpty)
  }
}
