import Foundation
import Models
import TestSupport
import Testing

/// The commands other than `train`.
@Suite struct CommandTests {
  private struct Report: Decodable {
    let loss: Double
    let accuracy: Double
    let examples: Int
    let confusion: [[Int]]
    let classAccuracy: [Double]
  }

  @Test func evaluateAgreesWithTheRun() throws {
    let folder = try TemporaryDirectory()
    let run = try Job.training(
      folder, output: "run", ["--steps", "3", "--eval-every", "3", "--eval-batches", "all"]
    ).succeed()
    let flags = ["evaluate", "--checkpoint", "run", "--data", "synthetic", "--batch-size", "16"]
    let text = try Job(folder, flags).succeed()
    let last = run.lines.last { $0.contains("eval  CrossEntropyLoss") } ?? "none"
    #expect(text.standardOutput.contains("loss      " + last.suffix(10)))
    let reports = try [nil, 1, 3].map { ranks in
      try Job(folder, ranks: ranks, flags + ["--json"]).succeed().standardOutput
    }
    #expect(Set(reports).count == 1, "the number of ranks does not affect the result")
    let report = try JSONDecoder.snakeCase.decode(Report.self, from: Data(reports[0].utf8))
    #expect(report.examples == 2000)
    #expect(report.confusion.flatMap { $0 }.reduce(0, +) == 2000)
    let correct = report.confusion.indices.map { report.confusion[$0][$0] }
    #expect(report.accuracy == Double(correct.reduce(0, +)) / 2000)
    for (label, row) in report.confusion.enumerated() {
      #expect(report.classAccuracy[label] == Double(correct[label]) / Double(row.reduce(0, +)))
    }
    for (row, line) in zip(report.confusion, text.lines.suffix(10)) {
      #expect(line.split(separator: " ").suffix(10).map { Int($0) } == row.map { $0 })
    }
  }

  @Test func evaluateWithRunningStatisticsAndLogits() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "3"]).succeed()
    let flags = ["evaluate", "--checkpoint", "run", "--data", "synthetic", "--eval-batches", "4"]
    var files: [Data] = []
    for (statistics, ranks) in [("running", 1), ("running", 3), ("batch", 2)] {
      let name = "\(statistics)-\(ranks).safetensors"
      let output = try Job(
        folder, ranks: ranks, flags + ["--eval-statistics", statistics, "--logits-output", name]
      ).succeed()
      #expect(output.standardOutput.contains("WRN-10-1, \(statistics) statistics"))
      files.append(try Data(contentsOf: folder.url.appendingPathComponent(name)))
      let shown = try Job(folder, ["inspect", name]).succeed()
      #expect(shown.lines.first == "logits  F32  [256, 10]")
    }
    #expect(files[0] == files[1])
    #expect(files[0] != files[2])
  }

  @Test func noImageIsEvaluatedTwice() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "1"]).succeed()
    let flags = ["evaluate", "--checkpoint", "run", "--data", "synthetic", "--json"]
    for (more, advice) in [
      (["--eval-batches", "32"], "use at most 31, or all"),
      (["--eval-batches", "1", "--batch-size", "2008"], "use all"),
    ] {
      let refused = try Job(folder, ranks: 2, flags + more).run()
      #expect(refused.exitCode == 64 && refused.errorLines.count == 1, "\(refused.standardError)")
      #expect(refused.standardError.contains("the 2000 images of the test set"))
      #expect(refused.standardError.contains(advice))
    }
    let most = try Job(folder, flags + ["--eval-batches", "31"]).succeed().standardOutput
    #expect(try JSONDecoder.snakeCase.decode(Report.self, from: Data(most.utf8)).examples == 1984)
  }

  @Test func inspectShowsTensorsAndState() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "2", "--seed", "9"]).succeed()
    let shown = try Job(folder, ["inspect", "run/checkpoints/step-00000002"]).succeed()
    let text = shown.standardOutput
    #expect(text.contains("[16, 3, 3, 3]") && text.contains("groups.2.blocks.0.norm2.running_var"))
    #expect(text.contains("WRN-10-1 after step 2") && text.contains("stream position 32, seed 9"))
    #expect(text.contains("  batch-size: 16"))
    #expect(shown.lines.last == "digest \(try folder.digest("run"))")
    let bare = try folder.digest("run/checkpoints/step-00000002/model.safetensors")
    #expect(try bare != folder.digest("run"), "a checkpoint's digest includes the optimizer state")
  }

  @Test func dataIsWrittenAndVerified() throws {
    let folder = try TemporaryDirectory()
    try Job(folder, ["data", "synthesize", "set"]).succeed()
    let verified = try Job(folder, ["data", "verify", "set"]).succeed()
    #expect(verified.standardOutput.contains("data_batch_5.bin: 2000 records"))
    #expect(verified.lines.suffix(2) == ["this is not the real CIFAR-10", "no defect found"])
    try Job.training(folder, output: "embedded", ["--steps", "2"]).succeed()
    try Job(
      folder,
      ["--depth", "10", "--batch-size", "16", "--data", "set", "--steps", "2", "--output-dir", "files"]
    ).succeed()
    #expect(try folder.digest("files") == folder.digest("embedded"))
    let hundred = try Job(folder, ["data", "synthesize", "hundred", "--dataset", "cifar100"]).succeed()
    #expect(hundred.standardOutput.contains("use it with --dataset cifar100 --data hundred"))
    let verifiedHundred = try Job(folder, ["data", "verify", "hundred", "--dataset", "cifar100"]).succeed()
    #expect(verifiedHundred.standardOutput.contains("train.bin: 10000 records"))
    #expect(verifiedHundred.lines.suffix(2) == ["this is not the real CIFAR-100", "no defect found"])
    let other = try Job(folder, ["data", "verify", "hundred"]).run()
    #expect(other.exitCode == 65)
    #expect(other.standardError.contains("looks like CIFAR-100; pass --dataset cifar100"))
    let again = try Job(folder, ["data", "synthesize", "set"]).run()
    #expect(again.exitCode == 73)
    #expect(again.standardError.contains("set is not empty"))
  }

  @Test func doctorReportsEveryRank() throws {
    let folder = try TemporaryDirectory()
    let alone = try Job(folder, ["doctor"]).succeed()
    for row in ["CPU", "cores", "BLAS", "MPI", "ranks", "threads", "open files"] {
      #expect(alone.lines.contains { $0.hasPrefix(row) }, "\(row)")
    }
    let three = try Job(folder, ranks: 3, ["doctor"]).succeed()
    #expect(three.standardOutput.contains("3 on 1 host (3)"))
  }

  @Test(
    .enabled(
      if: ProcessInfo.processInfo.activeProcessorCount == sysconf(Int32(_SC_NPROCESSORS_ONLN)),
      "these tests may use some of the cores only, to which threads are limited"),
    arguments: [nil, 2])
  func moreThreadsThanCoresAreAWarningOnly(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let cores = ProcessInfo.processInfo.activeProcessorCount
    func warnings(_ output: String, threads: Int) throws -> [Substring] {
      let job = Job.training(folder, ranks: ranks, output: output, ["--steps", "2", "--threads", "\(threads)"])
      return try job.succeed().standardError.split(separator: "\n").filter { $0.hasPrefix("warning: ") }
    }
    #expect(try warnings("fitting", threads: 1).isEmpty)
    #expect(
      try warnings("more", threads: cores + 2) == [
        "warning: rank 0 has \(cores + 2) threads on \(cores) core\(cores == 1 ? "" : "s"), which is slower than one "
          + "thread per core; lower --threads to \(cores)."
      ])
    #expect(try folder.digest("more") == folder.digest("fitting"))
  }

  @Test(
    .enabled(if: InstructionSet.allCases.contains(where: \.isSupported), "this CPU runs no native kernels"),
    arguments: [nil, 3])
  func doctorFindsAWrongKernel(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    var job = Job(folder, ranks: ranks, ["doctor"])
    job.environment = ["WRN_TEST_WRONG_KERNEL": "1"]
    let refused = try job.run()
    #expect(refused.exitCode == 64 && refused.errorLines.count == 1, "\(refused.standardError)")
    #expect(refused.standardError.contains("WRN_ALLOW_FAULTS=1"))
    job.environment["WRN_ALLOW_FAULTS"] = "1"
    let found = try job.run()
    #expect(found.exitCode == 70 && found.errorLines.count == 1, "\(found.standardError)")
    #expect(found.standardError.contains("compute wrongly here: stem, forward is off by "))
    #expect(found.standardError.contains("--engine blas"))
    #expect(found.lines.contains { $0.hasPrefix("ISA") }, "the report is printed before the error")
  }
}
