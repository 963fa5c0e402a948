import Foundation
import TestSupport
import Testing

/// `wrn-dist report`, over runs that `train` has made.
@Suite struct ReportCommandTests {
  /// What a run leaves is what the page shows.
  @Test(arguments: [nil, 2])
  func aPageOverARealRun(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let name = "it's <a> run"
    let flags = ["--eval-every", "2", "--eval-batches", "2", "--threads", "1", "--steps", "4"]
    try Job.training(folder, ranks: ranks, output: name, flags).succeed()
    let output = try Job(folder, ["report", name]).succeed()
    #expect(output.standardOutput.contains("report of 1 run written to report.html"))
    let page = folder.read("report.html")
    let digest = try folder.digest(name)
    for words in [
      digest, "it&#39;s &lt;a&gt; run", "WRN-10-1", "--eval-batches 2", "32 test images", "Kernels of the first layer",
      "\(ranks ?? 1) rank\(ranks == nil ? "" : "s") × 1 thread", "training set: ",
    ] {
      #expect(page.contains(words), "\(words)")
    }
    // The predictions are those of the run's last evaluation.
    struct Predictions: Decodable {
      let step: Int
      let labels: [Int]
      let predictions: [Int]
    }
    struct Evaluation: Decodable {
      let accuracy: Double
      let examples: Int
    }
    let predictions = try JSONDecoder.snakeCase.decode(
      Predictions.self, from: Data(folder.read("\(name)/predictions.json").utf8))
    let lines = folder.metrics(name).filter { $0.contains(#""kind":"eval""#) }
    let last = try JSONDecoder().decode(Evaluation.self, from: Data(try #require(lines.last).utf8))
    let correct = zip(predictions.labels, predictions.predictions).count { $0 == $1 }
    #expect(predictions.step == 4 && predictions.labels.count == last.examples)
    #expect(abs(Double(correct) / Double(last.examples) - last.accuracy) < 1e-6)
  }

  /// The same predictions for any number of ranks; a resumed run adds a session.
  @Test func whatARunLeavesDoesNotDependOnRanks() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--eval-every", "2", "--eval-batches", "all", "--threads", "1"]
    try Job.training(folder, output: "one", flags + ["--steps", "4"]).succeed()
    try Job.training(folder, ranks: 3, output: "three", flags + ["--steps", "2"]).succeed()
    try Job.training(folder, ranks: 2, output: "three", flags + ["--steps", "4"]).succeed()
    #expect(!folder.read("one/predictions.json").isEmpty)
    #expect(folder.read("one/predictions.json") == folder.read("three/predictions.json"))
    struct Description: Decodable {
      struct Session: Decodable {
        struct Host: Decodable {
          let ranks: Int
          let threads: [Int]
        }
        let command: [String]
        let firstStep: Int
        let version: String
        let hosts: [Host]
      }
      let network: String
      let parameterCount: Int
      let testCount: Int
      let dataDigest: String
      let sessions: [Session]
    }
    let run = try JSONDecoder.snakeCase.decode(Description.self, from: Data(folder.read("three/run.json").utf8))
    #expect(run.network == "WRN-10-1" && run.parameterCount > 70_000 && run.testCount == 2000)
    #expect(run.sessions.map(\.firstStep) == [1, 3] && run.dataDigest.contains("test set: "))
    #expect(run.sessions.map { $0.hosts.map(\.ranks) } == [[3], [2]])
    #expect(run.sessions.map { $0.hosts.map(\.threads) } == [[[1, 1, 1]], [[1, 1]]])
    #expect(run.sessions[1].command.suffix(2) == ["--steps", "4"] && run.sessions[0].version == "0.1.0")
  }

  /// `--evaluate` gives what `evaluate` gives.
  @Test func checkpointsAreEvaluatedOnRequest() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, output: "run", ["--steps", "2", "--threads", "1"]).succeed()
    #expect(folder.read("run/predictions.json").isEmpty)
    let none = try Job(folder, ["report", "run", "--evaluate", "0", "--output", "none.html"]).succeed()
    #expect(none.standardError.isEmpty)
    #expect(folder.read("none.html").contains("the run has left no predictions"))
    try Job(folder, ["report", "run", "--evaluate", "all", "--threads", "2", "--output", "all.html"]).succeed()
    let evaluated = try Job(
      folder, ["evaluate", "--checkpoint", "run", "--data", "synthetic", "--batch-size", "16", "--json"]
    ).succeed()
    struct Result: Decodable {
      let confusion: [[Int]]
    }
    let result = try JSONDecoder.snakeCase.decode(Result.self, from: Data(try #require(evaluated.lines.last).utf8))
    let page = folder.read("all.html")
    let rows = page.components(separatedBy: "<tr><th>").map { row in
      row.components(separatedBy: "</tr>")[0].components(separatedBy: "<td").dropFirst().map { cell in
        Int(cell.drop { $0 != ">" }.dropFirst().prefix { $0.isNumber }) ?? -1
      }
    }.filter { $0.count == 10 }
    #expect(rows == result.confusion)
    #expect(folder.read("run/predictions.json").isEmpty, "a report changes no run")
  }

  @Test func everyFormatIsWritten() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--eval-every", "1", "--eval-batches", "1", "--threads", "1", "--steps", "2"]
    try Job.training(folder, output: "runs/a", flags).succeed()
    try Job.training(folder, output: "runs/b", flags + ["--seed", "1"]).succeed()
    for (file, start) in [
      ("r.html", "<!DOCTYPE html>"), ("r.svg", "<svg "), ("r.csv", "run,network,step,"), ("r.md", "# Training runs"),
    ] {
      try Job(folder, ["report", "runs", "--output", file]).succeed()
      #expect(folder.read(file).hasPrefix(start), "\(file)")
    }
    #expect(folder.read("r.csv").contains("a,WRN-10-1,2,") && folder.read("r.csv").contains(",seed\r\n"))
    let text = try Job(folder, ["report", "runs/a", "r.csv", "runs/b", "--format", "md", "--output", "-"]).succeed()
    #expect(text.standardOutput == folder.read("r.md"))
    var withoutTool = Job(folder, ["report", "runs/a", "--format", "png"])
    withoutTool.environment = ["PATH": folder.path]
    let output = try withoutTool.run()
    #expect(output.exitCode == 69 && output.standardError.contains("needs rsvg-convert"), "\(output.standardError)")
  }

  @Test(arguments: [
    ([], 64, "Missing expected argument"), (["nowhere"], 65, "there is no run nowhere"),
    (["empty"], 65, "empty holds no run"),
    (["run", "--format", "pdf"], 64, "--format"), (["run", "--evaluate", "-1"], 64, "--evaluate"),
    (["run", "--threads", "0"], 64, "--threads 0 must be at least 1"),
    (["run", "--output", "nowhere/r.html"], 73, "there is no directory nowhere"),
    (["run", "--output", "empty"], 73, "is a directory"),
    (["run", "--output", "/proc/r.html"], 73, "/proc/r.html"),
  ])
  func badInput(arguments: [String], exitCode: Int32, words: String) throws {
    let folder = try TemporaryDirectory()
    try folder.write("run/metrics.jsonl", "")
    try FileManager.default.createDirectory(atPath: "\(folder.path)/empty", withIntermediateDirectories: true)
    let output = try Job(folder, ["report"] + arguments).run()
    #expect(
      output.exitCode == exitCode && output.standardError.contains(words), "\(output.exitCode) \(output.standardError)")
    #expect(output.errorLines.count == 1)
  }
}
