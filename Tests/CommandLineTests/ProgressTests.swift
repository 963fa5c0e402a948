import Foundation
import Glibc
import TestSupport
import Testing

/// What a run shows on terminals and pipes, and the formats for programs.
@Suite struct ProgressTests {
  private static let script = try? BuiltProducts.installed("script")

  /// Runs a command on a pseudo-terminal of the given width and returns what it writes.
  private func onTerminal(
    _ folder: TemporaryDirectory, columns: Int, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> String {
    let program = try BuiltProducts.executable("wrn-dist")
    let words = ([program] + arguments).map { "'\($0)'" }.joined(separator: " ")
    let output = try ProcessRun(
      #require(Self.script), ["-qec", "stty cols \(columns) rows 12; \(words)", "/dev/null"],
      environment: MPIRun.environment(
        adding: ["TERM": "xterm", "LC_ALL": "C", "NO_COLOR": ""].merging(environment) { $1 }),
      workingFolder: folder.path, limit: .seconds(120)
    ).run()
    #expect(output.exitCode == 0, "\(output.standardOutput)")
    return output.standardOutput
  }

  private let training = [
    "train", "--depth", "10", "--batch-size", "16", "--data", "synthetic", "--eval-every", "0", "--steps", "300",
  ]

  @Test(.enabled(if: script != nil, "script is not installed; install bsdutils"), arguments: [20, 40, 120])
  func theLiveLineFitsTheTerminal(columns: Int) throws {
    let text = try onTerminal(TemporaryDirectory(), columns: columns, training + ["--output-dir", "run"])
    let live = text.split(separator: "\n").flatMap { $0.split(separator: "\r") }.filter { $0.contains("/300") }
    #expect(!live.isEmpty, "\(text)")
    for line in live { #expect(line.count < columns, "\(line)") }
    if columns == 120 { #expect(live.contains { $0.contains("img/s") && $0.contains("left") && $0.hasPrefix("[") }) }
  }

  @Test(.enabled(if: script != nil, "script is not installed; install bsdutils"))
  func dumbTerminalsAndNoColor() throws {
    let folder = try TemporaryDirectory()
    let dumb = try onTerminal(folder, columns: 80, training + ["--output-dir", "a"], environment: ["TERM": "dumb"])
    #expect(!dumb.contains("/300") && !dumb.contains("\u{1B}"))
    let sweep = ["sweep", "--steps", "40", "--seed", "0,1"] + training.dropFirst().dropLast(2)
    let finished = "\u{1B}[32mfinished\u{1B}[0m"
    let narrow = try onTerminal(folder, columns: 20, sweep + ["--output-dir", "b"])
    #expect(narrow.contains("seed=0 \(finished)"), "\(narrow)")
    let plain = try onTerminal(folder, columns: 80, sweep + ["--output-dir", "c"], environment: ["NO_COLOR": "1"])
    #expect(plain.contains("seed=1 finished") && plain.firstMatch(of: /\u{1B}\[[0-9]+m/) == nil, "\(plain)")
    let bright = try onTerminal(folder, columns: 80, sweep + ["--output-dir", "d"])
    #expect(bright.contains("seed=0 \(finished)"), "\(bright)")
    // Rows of the table: what is left of every line without control sequences.
    let rows = narrow.replacing(/\u{1B}\[[0-9]*[A-Za-z]/, with: "").split(whereSeparator: \.isNewline)
      .filter { $0.hasPrefix("seed=") }
    #expect(rows.contains("seed=0 finished") && rows.contains("seed=1 finished"), "\(narrow)")
    for row in rows { #expect(row.count <= 20, "\(row)") }
  }

  @Test func jsonHasOneObjectPerEvent() throws {
    struct Event: Decodable {
      let event: String
      let time: Double
      let step, steps, examples, batchSize, completedSteps: Int?
      let loss, accuracy: Double?
      let run, text: String?
    }
    let folder = try TemporaryDirectory()
    let output = try Job.training(
      folder, ranks: 2, output: "run",
      ["--steps", "4", "--eval-every", "2", "--eval-batches", "2", "--log-format", "json", "--checkpoint-mode", "sync"]
    ).succeed()
    let events = try output.lines.map { try JSONDecoder.snakeCase.decode(Event.self, from: Data($0.utf8)) }
    #expect(
      events.map(\.event) == [
        "message", "start", "train", "evaluation", "train", "evaluation", "train", "checkpoint", "evaluation", "end",
      ])
    #expect(
      events[1].run == "run" && events[1].steps == 4 && events[1].batchSize == 16 && events[1].completedSteps == 0)
    #expect(events[0].text?.hasPrefix("data: embedded synthetic set") == true)
    // The numbers are those of the text format, which has eight digits.
    let text = try Job.training(
      folder, output: "text", ["--steps", "4", "--eval-every", "2", "--eval-batches", "2"]
    ).succeed().standardOutput
    for event in events where event.event == "evaluation" {
      let step = String(repeating: " ", count: 5) + "\(event.step ?? 0)"
      #expect(text.contains("Step \(step): eval          Accuracy | \(String(format: "% .8f", event.accuracy ?? -1))"))
      #expect(text.contains("Step \(step): eval  CrossEntropyLoss | \(String(format: "% .8f", event.loss ?? -1))"))
    }
    #expect(events.last?.accuracy == events[8].accuracy && events[8].examples == 32)
  }

  @Test func theTableHasTheRowsOfTheLog() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--eval-every", "2", "--eval-batches", "2", "--checkpoint-every", "1", "--test-flip"]
    // The table of a run that began without one is complete, too.
    try Job.training(folder, output: "run", ["--steps", "3"] + flags).succeed()
    #expect(folder.read("run/metrics.csv").isEmpty)
    try Job.training(folder, output: "run", ["--steps", "5", "--metrics-csv"] + flags).succeed()
    let rows = folder.read("run/metrics.csv").split(separator: "\n").map {
      $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    let lines = folder.read("run/metrics.jsonl").split(separator: "\n")
    try #require(rows.count == 1 + lines.count && lines.count >= 9)
    for (row, line) in zip(rows.dropFirst(), lines) {
      try #require(row.count == rows[0].count)
      for (column, cell) in zip(rows[0], row) {
        let value = line.firstMatch(of: try Regex("\"\(column)\":\"?([^,\"}]*)")).map {
          String($0.output[1].substring ?? "")
        }
        #expect(cell == value ?? "", "\(column) of \(line)")
      }
    }
  }

  @Test func gaugesForPrometheus() throws {
    let folder = try TemporaryDirectory()
    let flags = ["--steps", "3", "--eval-every", "1", "--eval-batches", "1", "--prometheus-textfile", "wrn.prom"]
    try Job.training(folder, ranks: 2, output: "a \"run\"", flags).succeed()
    let text = folder.read("wrn.prom")
    let samples = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
    #expect(
      samples.contains(#"wrn_dist_step{run="a \"run\""} 3.0"#) && samples.contains { $0.hasPrefix("wrn_dist_steps{") })
    for name in ["loss", "accuracy_ratio", "images_per_second", "communication_ratio", "remaining_seconds", "epoch"] {
      #expect(text.contains("# TYPE wrn_dist_\(name) gauge\nwrn_dist_\(name){"), "\(name)")
    }
    for line in samples {
      #expect(line.wholeMatch(of: /wrn_dist_[a-z_]+\{run="a \\"run\\""\} -?[0-9.e+-]+/) != nil, "\(line)")
    }
    #expect(folder.names("") == ["a \"run\"", "wrn.prom"], "no temporary file is left")
    let refused = try Job.training(folder, output: "b", ["--steps", "1", "--prometheus-textfile", "no/such.prom"]).run()
    #expect(refused.exitCode == 73 && refused.errorLines.count == 1, "\(refused.standardError)")
  }
}
