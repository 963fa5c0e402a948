import Foundation
import Glibc
import TestSupport
import Testing

/// A resumed run's parameters are bitwise those of the uninterrupted one, with any number of ranks.
@Suite struct ResumeTests {
  @Test(arguments: [(1, 4), (3, 2), (4, 1), (2, 3)])
  func resumedRunsAreBitwiseIdentical(firstRanks: Int, thenRanks: Int) throws {
    let folder = try TemporaryDirectory()
    let flags = ["--eval-every", "2", "--eval-batches", "3", "--checkpoint-every", "4"]
    try Job.training(folder, output: "whole", flags + ["--steps", "9"]).succeed()
    try Job.training(folder, ranks: firstRanks, output: "parts", flags + ["--steps", "5"]).succeed()
    let resumed = try Job.training(
      folder, ranks: thenRanks, output: "parts", flags + ["--steps", "9", "--threads", "2"]
    ).succeed()
    #expect(resumed.standardOutput.contains("resuming after step 5"))
    #expect(try folder.digest("parts") == folder.digest("whole"))
    let train = { (run: String) in folder.metrics(run).filter { $0.contains(#""kind":"train""#) } }
    #expect(train("parts") == train("whole"))
    #expect(train("parts").count == 9)
  }

  /// In the middle of an epoch, and on each side of a change of the images' size, by another number of ranks.
  @Test(arguments: [(Recipes.paper, [4]), (Recipes.fast, [2, 4, 5])])
  func recipesResume(flags: [String], steps: [Int]) throws {
    let folder = try TemporaryDirectory()
    let flags = flags + ["--steps", "8", "--eval-every", "4", "--eval-batches", "3"]
    try Job.training(
      folder, ranks: 2, output: "whole", flags + ["--checkpoint-every", "1", "--keep-checkpoints", "0"]
    ).succeed()
    for step in steps {
      let resumed = try Job.training(
        folder, ranks: 3, output: "from-\(step)",
        flags + ["--threads", "2", "--resume", "whole/checkpoints/step-0000000\(step)"]
      ).succeed()
      #expect(resumed.standardOutput.contains("resuming after step \(step)"))
      #expect(try folder.digest("from-\(step)") == folder.digest("whole"))
      let expected = folder.metrics("whole").filter { line in
        !(1...step).contains { line.contains("\"step\":\($0),") }
      }
      #expect(folder.metrics("from-\(step)") == expected)
    }
  }

  /// A checkpoint gathers sharded optimizer state; a resume shards it again.
  @Test(arguments: [("sharded", "replicated"), ("replicated", "sharded")])
  func optimizerStateModeChanges(first: String, then: String) throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "whole", ["--steps", "6"]).succeed()
    try Job.training(
      folder, ranks: 3, output: "parts", ["--steps", "3", "--optimizer-state", first]
    ).succeed()
    try Job.training(
      folder, ranks: 2, output: "parts", ["--steps", "6", "--optimizer-state", then]
    ).succeed()
    #expect(try folder.digest("parts") == folder.digest("whole"))
  }

  @Test func anOlderCheckpointTruncatesTheRun() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "6", "--checkpoint-every", "2"]
    try Job.training(folder, output: "run", flags).succeed()
    let digest = try folder.digest("run")
    let metrics = folder.metrics("run")
    try Job.training(
      folder, ranks: 2, output: "run", flags + ["--resume", "run/checkpoints/step-00000002"]
    ).succeed()
    #expect(try folder.digest("run") == digest)
    #expect(folder.metrics("run") == metrics)
  }

  @Test(arguments: [SIGUSR1, SIGTERM, SIGINT])
  func aSignalStopsAfterACheckpoint(signal: Int32) throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let stopped = try Job.training(folder, output: "run", ["--steps", "100000"]).run { child in
      try waitForLines(3, in: log)
      kill(child, signal)
    }
    #expect(stopped.exitCode == 75)
    #expect(stopped.errorLines.count == 1)
    #expect(stopped.standardError.contains("stopped on request after step"))
    let step = folder.metrics("run").count
    #expect(folder.names("run/checkpoints") == ["latest", "step-" + padded(step)])
    try compareWithWhole(folder, step: step)
  }

  @Test func aSignalToMPIRunReachesAllRanks() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let job = Job.training(folder, ranks: 3, output: "run", ["--steps", "100000"])
    let stopped = try job.run { mpirun in
      try waitForLines(3, in: log)
      kill(mpirun, SIGUSR1)
    }
    #expect(stopped.exitCode == 75)
    #expect(stopped.errorLines.count == 1)
    try compareWithWhole(folder, step: folder.metrics("run").count)
  }

  /// Resumes for two steps and compares with an uninterrupted run.
  private func compareWithWhole(_ folder: TemporaryDirectory, step: Int) throws {
    let steps = ["--steps", "\(step + 2)"]
    try Job.training(folder, ranks: 2, output: "run", steps).succeed()
    try Job.training(folder, output: "whole", steps).succeed()
    #expect(try folder.digest("run") == folder.digest("whole"))
    #expect(folder.metrics("run") == folder.metrics("whole"))
  }

  @Test func aCompleteRunIsUnchanged() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "2"]).succeed()
    let metrics = folder.metrics("run")
    let again = try Job.training(folder, output: "run", ["--steps", "2"]).succeed()
    #expect(again.standardOutput.contains("nothing to do"))
    #expect(folder.metrics("run") == metrics)
  }

  @Test func anotherEngineIsWarnedAbout() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "1", "--engine", "blas"]).succeed()
    let same = try Job.training(folder, output: "run", ["--steps", "2", "--engine", "blas"]).succeed()
    #expect(!same.standardOutput.contains("warning"))
    let other = try Job.training(folder, output: "run", ["--steps", "3", "--engine", "native"]).succeed()
    #expect(other.standardOutput.contains("step-00000002 was made with --engine blas"))
  }

  /// A run without its checkpoints is not restarted over its other files.
  @Test func missingCheckpoints() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "1"]).succeed()
    let metrics = folder.metrics("run")
    try FileManager.default.removeItem(at: folder.url.appendingPathComponent("run/checkpoints/step-00000001"))
    let output = try Job.training(folder, output: "run", ["--steps", "2"]).run()
    #expect(output.exitCode == 65 && output.errorLines.count == 1)
    #expect(output.standardError.contains("run/checkpoints/latest names step-00000001, which is gone"))
    #expect(folder.metrics("run") == metrics)
  }

  @Test func weightsStartANewRun() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "first", ["--steps", "2"]).succeed()
    let file = "first/checkpoints/step-00000002/model.safetensors"
    try Job.training(folder, output: "a", ["--steps", "1", "--init", file]).succeed()
    try Job.training(folder, ranks: 3, output: "b", ["--steps", "1", "--init", "first"]).succeed()
    #expect(try folder.digest("a") == folder.digest("b"))
    try Job.training(folder, output: "fresh", ["--steps", "1"]).succeed()
    #expect(try folder.digest("a") != folder.digest("fresh"))
  }

  private func padded(_ step: Int) -> String {
    String(repeating: "0", count: 8 - String(step).count) + String(step)
  }
}

/// Waits until a file has a number of lines; fails after a minute.
func waitForLines(_ count: Int, in path: String) throws {
  for _ in 0..<6000 {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    if text.filter({ $0 == "\n" }).count >= count { return }
    usleep(10_000)
  }
  struct NothingWritten: Error {}
  throw NothingWritten()
}
