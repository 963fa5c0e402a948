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
      // A new directory lacks the evaluation of the step that it starts from, which is completed first.
      let (whole, resumedLines) = (folder.metrics("whole"), folder.metrics("from-\(step)"))
      let isLater = { (line: String) in !(1...step).contains { line.contains("\"step\":\($0),") } }
      #expect(resumedLines.filter(isLater) == whole.filter(isLater))
      #expect(resumedLines.allSatisfy(whole.contains))
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

  /// A run that resumes from an older checkpoint and is killed before the next one resumes from the same again.
  @Test func anOlderCheckpointBecomesTheLatest() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    try Job.training(folder, output: "run", ["--steps", "6", "--checkpoint-every", "2"]).succeed()
    let metrics = folder.metrics("run")
    let older = ["--resume", "run/checkpoints/step-00000002"]
    let killed = try Job.training(
      folder, output: "run", ["--steps", "100000", "--checkpoint-every", "0"] + older
    ).run { child in
      // The log is cut back first.
      while folder.metrics("run").count > 2 && folder.read("run/checkpoints/latest") != "step-00000002\n" {
        usleep(1_000)
      }
      try waitForLines(3, in: log)
      kill(child, SIGKILL)
    }
    #expect(killed.exitCode == 137)
    #expect(folder.read("run/checkpoints/latest") == "step-00000002\n")
    let resumed = try Job.training(folder, output: "run", ["--steps", "6"]).succeed()
    #expect(resumed.standardOutput.contains("resuming after step 2"))
    #expect(folder.metrics("run") == metrics, "one line per step")

    try Job.training(folder, output: "other", ["--steps", "1"]).succeed()
    let foreign = try Job.training(folder, output: "other", ["--steps", "9"] + older).run()
    #expect(foreign.exitCode == 73 && foreign.standardError.contains("other already contains a run, to which"))
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

  /// Only rank 0 knows the end of the job.
  @Test(arguments: [nil, 2])
  func aRunStopsBeforeTheEndOfItsJob(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    var job = Job.training(folder, ranks: ranks, output: "run", ["--steps", "100000"])
    job.environment = ["SLURM_JOB_END_TIME": "\(Int(Date().timeIntervalSince1970) + 13)"]
    let stopped = try job.run()
    #expect(stopped.exitCode == 75, "\(stopped.standardError)")
    #expect(stopped.errorLines.count == 1)
    let step = folder.metrics("run").count
    #expect(folder.read("run/checkpoints/latest") == "step-\(padded(step))\n")
    try compareWithWhole(folder, step: step)
  }

  /// Batch systems repeat USR1, and send it to every process of a job.
  @Test(arguments: [nil, 2])
  func repeatedUSR1IsOneStopRequest(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let stopped = try Job.training(folder, ranks: ranks, output: "run", ["--steps", "100000"]).run { child in
      try waitForLines(3, in: log)
      for _ in 0..<20 {
        kill(child, SIGUSR1)
        usleep(1_000)
      }
    }
    #expect(stopped.exitCode == 75, "\(stopped.standardError)")
    #expect(stopped.errorLines.count == 1)
    try compareWithWhole(folder, step: folder.metrics("run").count)
  }

  /// Of interactive signals the second means at once, also if it is another one.
  @Test func theSecondInteractiveSignalEndsTheRun() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    // No step ends between the signals: the first steps of this batch take long.
    let job = Job(
      folder, ["train", "--data", "synthetic", "--batch-size", "512", "--eval-every", "0", "--output-dir", "run"])
    let ended = try job.run { child in
      while !FileManager.default.fileExists(atPath: log) { usleep(10_000) }
      kill(child, SIGINT)
      usleep(1_000)
      kill(child, SIGTERM)
    }
    // Of two signals that a busy machine delivers at once, the handler of the later one runs first.
    #expect([128 + SIGINT, 128 + SIGTERM].contains(ended.exitCode), "\(ended.standardError)")
    #expect(folder.names("run/checkpoints").isEmpty)
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

  private static let evaluated = ["--eval-every", "2", "--eval-batches", "3"]

  /// A run that was killed between a checkpoint and the evaluation of the same step has the checkpoint only.
  @Test(arguments: [nil, 2])
  func theEvaluationThatAKilledRunLacksIsCompleted(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl")
    func job(_ output: String, _ steps: Int) -> Job {
      Job.training(folder, ranks: ranks, output: output, Self.evaluated + ["--steps", "\(steps)"])
    }
    try job("whole", 6).succeed()
    // After step 3, the last of the run, and after step 4, an intermediate one of the whole run.
    for (steps, isNothingElseToDo) in [(3, true), (4, false)] {
      try? FileManager.default.removeItem(at: folder.url.appendingPathComponent("run"))
      try job("run", steps).succeed()
      let complete = folder.metrics("run")
      let lines = folder.read("run/metrics.jsonl").split(separator: "\n")
      #expect(lines.last?.hasPrefix(#"{"kind":"eval","step":\#(steps),"#) == true)
      try Data((lines.dropLast().joined(separator: "\n") + "\n").utf8).write(to: log)
      let again = try job("run", isNothingElseToDo ? steps : 6).succeed()
      #expect(!again.standardOutput.contains("nothing to do"))
      #expect(folder.metrics("run") == (isNothingElseToDo ? complete : folder.metrics("whole")))
      #expect(try job("run", isNothingElseToDo ? steps : 6).succeed().standardOutput.contains("nothing to do"))
    }
  }

  /// The time until the end of a batch job is for the checkpoint; the next start evaluates.
  @Test(arguments: [nil, 2])
  func aStopRequestDuringAnEvaluation(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    func job(_ batches: Int) -> Job {
      Job.training(
        folder, ranks: ranks, output: "run",
        ["--steps", "2", "--eval-every", "1", "--eval-batches", "\(batches)", "--checkpoint-every", "0"])
    }
    // The evaluation after step 1 would take a minute.
    let stopped = try job(20_000).run { child in
      try waitForLines(1, in: log)
      usleep(200_000)
      kill(child, SIGUSR1)
    }
    #expect(stopped.exitCode == 75, "\(stopped.standardError)")
    #expect(stopped.standardError.contains("stopped on request after step 1, checkpoint written"))
    #expect(folder.names("run/checkpoints") == ["latest", "step-00000001"])
    #expect(folder.metrics("run").count == 1)
    try job(3).succeed()
    #expect(
      folder.metrics("run").map { $0.prefix { $0 != "," } }
        == [#"{"kind":"train""#, #"{"kind":"eval""#, #"{"kind":"train""#, #"{"kind":"eval""#])
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
