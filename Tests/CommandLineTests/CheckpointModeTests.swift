import Foundation
import Glibc
import TestSupport
import Testing

/// Checkpoints in the background are those that training waits for, byte for byte; no fault of a disk loses a run.
@Suite struct CheckpointModeTests {
  private func environment(_ fault: String) -> [String: String] { ["WRN_FAULT": fault, "WRN_ALLOW_FAULTS": "1"] }

  /// Every checkpoint of a run whose writes overlap with every step.
  @Test(
    arguments: [
      (nil, ["--optimizer-state", "sharded"]), (2, ["--optimizer-state", "sharded"]),
      (3, ["--optimizer-state", "replicated"]), (4, ["--average-decay", "0.9", "--average-every", "2"]),
    ] as [(Int?, [String])])
  func bothModesWriteTheSameFiles(ranks: Int?, flags: [String]) throws {
    let folder = try TemporaryDirectory()
    let flags = flags + ["--steps", "6", "--checkpoint-every", "1", "--keep-checkpoints", "0"]
    for mode in ["sync", "async"] {
      let mode = ["--checkpoint-mode", mode]
      try Job.training(folder, ranks: ranks, output: mode[1], flags + mode).succeed()
    }
    #expect(folder.metrics("async") == folder.metrics("sync"))
    for step in 1...6 {
      let name = "checkpoints/step-0000000\(step)"
      let files = folder.names("sync/\(name)")
      #expect(files.contains("model.safetensors") && files == folder.names("async/\(name)"))
      for file in files where file.hasSuffix(".safetensors") {
        let bytes = try ["sync", "async"].map {
          try Data(contentsOf: folder.url.appendingPathComponent("\($0)/\(name)/\(file)"))
        }
        #expect(bytes[0] == bytes[1], "\(file) of step \(step)")
      }
    }
  }

  /// Steps continue during a write that lasts until the run is killed.
  ///
  /// With `sync` the log would end at step 4.
  @Test func trainingGoesOnDuringAWrite() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let flags = ["--steps", "9", "--checkpoint-every", "4"]
    var job = Job.training(folder, output: "run", flags)
    job.environment = environment("rank=0,step=4,phase=write,act=slow,milliseconds=1000000")
    let output = try job.run { child in
      try waitForLines(7, in: log)
      kill(child, SIGKILL)
    }
    #expect(output.exitCode == 137, "\(output.standardError)")
    #expect(folder.names("run/checkpoints").allSatisfy { $0 == ".step-00000004.tmp" })
    try Job.training(folder, output: "run", flags).succeed()
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000004", "step-00000008", "step-00000009"])
    try Job.training(folder, output: "whole", ["--steps", "9"]).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  /// The signal arrives during the write of one checkpoint; that one and the last are complete.
  @Test(arguments: [nil, 2])
  func aStopWaitsForTheWrite(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    var job = Job.training(folder, ranks: ranks, output: "run", ["--steps", "100000", "--checkpoint-every", "4"])
    job.environment = environment("rank=0,step=4,phase=write,act=slow,milliseconds=3000")
    let output = try job.run { child in
      try waitForLines(5, in: log)
      kill(child, SIGUSR1)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    let step = folder.metrics("run").count
    let names = folder.names("run/checkpoints")
    #expect(
      names.contains("step-00000004") && folder.read("run/checkpoints/latest").filter(\.isNumber).hasSuffix("\(step)"))
    try Job.training(folder, output: "whole", ["--steps", "\(step)"]).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  /// A killed rank leaves a valid checkpoint, wherever the write was.
  @Test(
    arguments: ["create", "write", "state", "sync", "verify", "rename", "latest", "prune", "remove"], ["async", "sync"])
  func aCrashAtAnyPoint(point: String, mode: String) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "7", "--checkpoint-every", "2", "--keep-checkpoints", "1", "--checkpoint-mode", mode]
    var job = Job.training(folder, ranks: mode == "sync" ? nil : 2, output: "run", flags)
    job.environment = environment("rank=0,step=4,act=crash-at=\(point)")
    #expect(try job.run().exitCode == 137)
    try Job(folder, ["inspect", "run"]).succeed()
    try Job.training(folder, output: "run", flags).succeed()
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
    #expect(folder.metrics("run") == folder.metrics("whole"))
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000007"])
  }

  @Test(arguments: [("enospc", nil, "async"), ("eio", 2, "async"), ("enospc", 3, "sync")] as [(String, Int?, String)])
  func aFailingDiskDoesNotStopARun(act: String, ranks: Int?, mode: String) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "8", "--checkpoint-every", "2", "--checkpoint-mode", mode]
    var job = Job.training(folder, ranks: ranks, output: "run", flags)
    job.environment = environment("rank=0,step=4,act=\(act)")
    let output = try job.run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    let reason = act == "eio" ? "Input/output error" : "No space left on device"
    #expect(
      output.lines.filter { $0.contains("WAS NOT WRITTEN") } == [
        "warning: THE CHECKPOINT OF STEP 4 WAS NOT WRITTEN: writing the checkpoint of step 4 failed: \(reason); training "
          + "continues, older checkpoints are kept, and the next one is tried as planned."
      ], "\(output.standardOutput)")
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000002", "step-00000006", "step-00000008"])
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
    #expect(folder.metrics("run") == folder.metrics("whole"))
  }

  @Test(arguments: ["async", "sync"], [nil, 2])
  func aRunWhoseLastCheckpointCannotBeWritten(mode: String, ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "6", "--checkpoint-every", "2", "--checkpoint-mode", mode]
    var job = Job.training(folder, ranks: ranks, output: "run", flags)
    job.environment = environment("rank=0,step=4,until=6,act=enospc")
    let output = try job.run()
    #expect(output.exitCode == 74, "\(output.standardError)")
    #expect(output.errorLines.count == 1)
    #expect(
      output.standardError.contains("the checkpoint of step 6, the last one, could not be written")
        && output.standardError.contains("the newest checkpoint is that of step 2"), "\(output.standardError)")
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000002"])
    let resumed = try Job.training(folder, output: "run", flags).succeed()
    #expect(resumed.standardOutput.contains("resuming after step 2"))
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  /// Exit code 75 would promise a checkpoint.
  @Test func aStopWithoutItsCheckpoint() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    var job = Job.training(folder, output: "run", ["--steps", "100000", "--checkpoint-every", "0"])
    job.environment = environment("rank=0,step=1,until=100000,act=enospc")
    let output = try job.run { child in
      try waitForLines(3, in: log)
      kill(child, SIGUSR1)
    }
    #expect(output.exitCode == 74, "\(output.standardError)")
    #expect(output.standardError.contains("there is no checkpoint"), "\(output.standardError)")
  }

  /// A limit of the size of files refuses the checkpoint and, after some steps, the lines of the log; then it is lifted.
  @Test func aDiskThatIsFullForAWhile() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "300", "--checkpoint-every", "20", "--metrics-csv"]
    let job = Job.training(folder, output: "run", flags)
    let program = try BuiltProducts.executable("wrn-dist")
    let prlimit = try BuiltProducts.installed("prlimit")
    let words = (["exec", program] + job.arguments + [">out"]).joined(separator: " ")
    let output = try ProcessRun(
      "/bin/bash", ["-c", "ulimit -S -f 12; \(words)"], environment: MPIRun.environment(adding: [:]),
      workingFolder: folder.path
    ).run { child in
      for _ in 0..<6000 where !folder.read("out").contains("is completed from memory") { usleep(10_000) }
      #expect(folder.read("out").contains("WAS NOT WRITTEN"))
      _ = try ProcessRun(prlimit, ["--pid", "\(child)", "--fsize=unlimited"]).run()
    }
    #expect(output.exitCode == 0, "\(output.standardError)")
    let text = folder.read("out")
    #expect(text.contains("metrics.jsonl failed: File too large; training continues"), "\(text)")
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
    #expect(folder.metrics("run") == folder.metrics("whole"), "one line per step, in order")
    #expect(folder.read("run/metrics.csv").split(separator: "\n").count == 1 + folder.metrics("run").count)
  }

  /// Whether this process can mount a tmpfs; true for root without `unshare`, so that a test reports that it is missing.
  private static let canMount: Bool = {
    guard geteuid() == 0 else { return false }
    guard let unshare = try? BuiltProducts.installed("unshare") else { return true }
    let run = ProcessRun(unshare, ["-m", "/bin/bash", "-c", "mount -t tmpfs -o size=1m none /tmp"])
    return (try? run.run().exitCode) == 0
  }()

  /// A file system of its own, full until a file on it is removed.
  @Test(.enabled(if: canMount, "skipped, because this process is not allowed to mount a file system"))
  func aRealFullDisk() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "120", "--checkpoint-every", "4", "--keep-checkpoints", "2"]
    let program = try BuiltProducts.executable("wrn-dist")
    let words = ([program] + Job.training(folder, output: "disk/run", flags).arguments).joined(separator: " ")
    let script = """
      mkdir disk && mount -t tmpfs -o size=12m none disk || exit
      head -c 10m /dev/zero >disk/filler
      ( for i in $(seq 6000); do grep -q 'WAS NOT WRITTEN' out && break; sleep 0.01; done; rm disk/filler ) &
      \(words) >out 2>err; code=$?
      wait; cp -r disk/run run; exit $code
      """
    let output = try ProcessRun(
      BuiltProducts.installed("unshare"), ["-m", "/bin/bash", "-c", script],
      environment: MPIRun.environment(adding: [:]), workingFolder: folder.path
    ).run()
    #expect(output.exitCode == 0, "\(output.standardError)\(folder.read("err"))")
    let text = folder.read("out")
    #expect(text.contains("No space left on device") && text.contains("WAS NOT WRITTEN"), "\(text)")
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
    #expect(folder.metrics("run") == folder.metrics("whole"))
  }

  @Test func everyMthCheckpointIsKept() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "9", "--checkpoint-every", "1", "--keep-checkpoints", "1", "--keep-every", "4"]
    try Job.training(folder, output: "run", flags).succeed()
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000004", "step-00000008", "step-00000009"])
    let refused = try Job.training(
      folder, output: "other", ["--checkpoint-every", "4", "--keep-every", "6"]
    ).run()
    #expect(refused.exitCode == 64 && refused.standardError.contains("--keep-every 6 must be a multiple"))
  }

  /// One checkpoint is kept, so pruning would remove the best one if it were not noted.
  @Test(arguments: ["async", "sync"])
  func theBestCheckpointIsKept(mode: String) throws {
    let folder = try TemporaryDirectory()
    let flags = [
      "--steps", "12", "--checkpoint-every", "2", "--keep-checkpoints", "1", "--eval-every", "2", "--eval-batches", "2",
      "--keep-best", "--validation", "64", "--checkpoint-mode", mode,
    ]
    try Job.training(folder, ranks: mode == "sync" ? nil : 2, output: "run", flags).succeed()
    struct Line: Decodable {
      let step: Int
      let accuracy: Double?
      let images: String?
    }
    let lines = try folder.read("run/metrics.jsonl").split(separator: "\n").map {
      try JSONDecoder().decode(Line.self, from: Data($0.utf8))
    }
    let validation = lines.filter { $0.images == "validation" }
    #expect(validation.map(\.step) == [1, 2, 4, 6, 8, 10, 12])
    // 64 images, so accuracies are exact.
    let highest = try #require(validation.compactMap(\.accuracy).max())
    let best = try #require(validation.first { $0.accuracy == highest })
    let words = folder.read("run/checkpoints/best").split(whereSeparator: \.isWhitespace)
    try #require(words.count == 2)
    let name = "step-" + String(repeating: "0", count: 8 - "\(best.step)".count) + "\(best.step)"
    #expect(words[0] == name && Double(words[1]) == highest, "\(words)")
    // If the last step is the best one, the best one before it has not been removed yet.
    let names = folder.names("run/checkpoints")
    #expect(names.count <= 4 && ["best", "latest", name, "step-00000012"].allSatisfy(names.contains), "\(names)")
    #expect(folder.names("run/checkpoints/\(name)").contains("model.safetensors"))
  }

  /// The run is killed when the best checkpoint is complete, before it is noted as the best one.
  @Test(arguments: ["async", "sync"])
  func aKillBeforeTheBestIsNoted(mode: String) throws {
    let folder = try TemporaryDirectory()
    let flags = [
      "--steps", "4", "--checkpoint-every", "0", "--eval-every", "2", "--eval-batches", "2", "--keep-best",
      "--validation", "64", "--checkpoint-mode", mode,
    ]
    // The first evaluation is the best so far, and its checkpoint is written for that reason alone.
    var job = Job.training(folder, ranks: mode == "sync" ? nil : 2, output: "run", flags)
    job.environment = environment("rank=0,step=1,act=crash-at=prune")
    #expect(try job.run().exitCode == 137)
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000001"])
    let resumed = try Job.training(folder, output: "run", flags).succeed()
    #expect(resumed.standardOutput.contains("so far: step 1 is kept"), "\(resumed.standardOutput)")
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(folder.read("run/checkpoints/best") == folder.read("whole/checkpoints/best"))
    #expect(folder.metrics("run") == folder.metrics("whole"))
    #expect(try folder.digest("run") == folder.digest("whole"))
  }

  /// A kill between the evaluation of the weights and that of their average.
  @Test(arguments: [(nil, 0, 6), (2, 1, 6), (2, 0, 7)] as [(Int?, Int, Int)])
  func anEvaluationIsCompleteWhenAllItsLinesAre(ranks: Int?, rank: Int, step: Int) throws {
    let folder = try TemporaryDirectory()
    let flags = [
      "--steps", "7", "--checkpoint-every", "2", "--eval-every", "3", "--eval-batches", "2", "--average-decay", "0.9",
      "--validation", "64",
    ]
    var job = Job.training(folder, ranks: ranks, output: "run", flags)
    job.environment = environment("rank=\(rank),step=\(step),phase=average,act=kill")
    #expect(try job.run().exitCode == 137)
    #expect(folder.metrics("run").contains { $0.contains("\"step\":\(step),") && $0.contains("eval") })
    try Job.training(folder, ranks: 3, output: "run", flags).succeed()
    try Job.training(folder, output: "whole", flags).succeed()
    #expect(folder.metrics("run") == folder.metrics("whole"))
    #expect(folder.metrics("whole").filter { $0.contains("\"step\":7,") && $0.contains("eval") }.count == 4)
    #expect(try folder.digest("run") == folder.digest("whole"))
  }
}
