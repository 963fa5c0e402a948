import Foundation
import TestSupport
import Testing

/// `--trace`: one file of all ranks in Chrome's trace format.
@Suite struct TraceTests {
  private struct Trace: Decodable {
    struct Event: Decodable {
      let ph: String
      let pid: Int
      let tid: Int?
      let name: String
      let ts: Double?
      let dur: Double?
    }
    let traceEvents: [Event]
  }

  private func read(_ folder: TemporaryDirectory, _ name: String) throws -> [Trace.Event] {
    let data = try Data(contentsOf: folder.url.appendingPathComponent(name))
    return try JSONDecoder().decode(Trace.self, from: data).traceEvents
  }

  @Test(arguments: [nil, 1, 2, 3])
  func everyRankHasItsRows(ranks: Int?) throws {
    let folder = try TemporaryDirectory()
    let flags = [
      "--steps", "4", "--eval-every", "2", "--eval-batches", "1", "--checkpoint-every", "2",
      "--threads", "2",
      "--bucket-size", "128KiB", "--trace", "t.json",
    ]
    try Job.training(folder, ranks: ranks, output: "run", flags).succeed()
    let events = try read(folder, "t.json")
    let count = ranks ?? 1
    #expect(Set(events.map(\.pid)) == Set(0..<count))
    #expect(events.count { $0.name == "process_name" } == count)
    #expect(
      events.count { $0.name == "thread_name" && ($0.tid ?? 0) <= 2 } == 3 * count,
      "two workers and communication")
    for rank in 0..<count {
      let spans = events.filter { $0.ph == "X" && $0.pid == rank }
      #expect(spans.count { $0.name == "step" } == 4)
      #expect(spans.count { $0.name == "data wait" } == 4)
      #expect(spans.count { $0.name == "evaluation" } == 3)
      #expect(spans.count { $0.name == "checkpoint" } == 2)
      let names = Set(spans.map(\.name))
      #expect(names.isSuperset(of: Self.layers.flatMap { ["forward \($0)", "backward \($0)"] }))
      #expect(names.isSuperset(of: ["update", "add microbatches"]))
      // One span per layer, step and pass.
      #expect(spans.count { $0.name == "forward stem" && $0.tid == 0 } == 4)
      #expect(spans.count { $0.name == "backward groups.1.blocks.0.conv2" && $0.tid == 0 } == 4)
      #expect(spans.count { $0.name == "batch-norm wait" } == (count > 1 ? 4 * 14 : 0))
      for wait in ["layer wait", "bucket wait", "summary wait"] {
        #expect(names.contains(wait) == (count > 1))
      }
      for bucket in 0..<3 {
        #expect(
          spans.count { $0.name == "reduce bucket \(bucket)" && ($0.tid ?? 0) >= 2 }
            == (count > 1 ? 4 : 0))
        #expect(
          spans.count { $0.name == "gather bucket \(bucket)" && ($0.tid ?? 0) >= 2 }
            == (count > 1 ? 4 : 0))
      }
      // With several ranks on few cores a worker may find all items claimed whenever it wakes.
      if count == 1 {
        #expect(
          spans.contains { $0.tid == 1 && ($0.name.hasPrefix("forward ") || $0.name.hasPrefix("backward ")) },
          "worker 1 has its own row")
      }
      // Spans of one row follow or contain one another.
      for row in Set(spans.compactMap(\.tid)) {
        let times = spans.filter { $0.tid == row }.map {
          (start: $0.ts ?? 0, end: ($0.ts ?? 0) + ($0.dur ?? -1))
        }
        #expect(times.allSatisfy { nests($0, among: times) })
      }
    }
    // The ranks' clocks are aligned: all were in step 2 at the same time.
    let second = (0..<count).compactMap { rank in
      events.filter { $0.name == "step" && $0.pid == rank }.dropFirst().first
    }
    let latestStart = second.compactMap(\.ts).max() ?? 0
    #expect(second.allSatisfy { ($0.ts ?? 0) + ($0.dur ?? 0) >= latestStart })
    try Job.training(folder, output: "plain", flags.dropLast(2)).succeed()
    #expect(try folder.digest("plain") == folder.digest("run"), "a trace does not affect results")
  }

  /// Times have three decimals of a microsecond, so sums may differ by a rounding error.
  private func nests(
    _ span: (start: Double, end: Double), among others: [(start: Double, end: Double)]
  ) -> Bool {
    let (a, b) = span
    return b >= a
      && others.allSatisfy { other in
        let (c, d) = other
        return c >= b - 0.002 || d <= a + 0.002 || (c >= a - 0.002 && d <= b + 0.002)
          || (c <= a + 0.002 && d >= b - 0.002)
      }
  }

  /// The layers of depth 10.
  private static let layers =
    ["stem", "head"]
    + (0..<3).flatMap { g in
      ["shortcut", "blocks.0.conv1", "blocks.0.conv2"].map { "groups.\(g).\($0)" }
    }

  @Test func aStoppedRunWritesItsTrace() throws {
    let folder = try TemporaryDirectory()
    let log = folder.url.appendingPathComponent("run/metrics.jsonl").path
    let output = try Job.training(folder, ranks: 2, output: "run", ["--steps", "100000", "--trace", "t.json"]).run {
      child in
      try waitForLines(3, in: log)
      kill(child, SIGUSR1)
    }
    #expect(output.exitCode == 75, "\(output.standardError)")
    let steps = try read(folder, "t.json").filter { $0.name == "step" }
    #expect(steps.count >= 6 && Set(steps.map(\.pid)) == [0, 1])
  }

  /// The output directory does not exist yet when the run starts.
  @Test func itMayBeInTheOutputDirectory() throws {
    let folder = try TemporaryDirectory()
    try Job.training(folder, ranks: 2, output: "run", ["--steps", "1", "--trace", "run/t.json"]).succeed()
    #expect(try read(folder, "run/t.json").contains { $0.name == "step" })
  }

  @Test func aFileThatCannotBeWrittenIsFoundAtTheStart() throws {
    let folder = try TemporaryDirectory()
    for ranks in [nil, 2] {
      let output = try Job.training(folder, ranks: ranks, output: "run", ["--steps", "1", "--trace", "no/t.json"]).run()
      #expect(output.exitCode == 73, "\(output.standardError)")
      #expect(output.errorLines.count == 1 && output.standardError.contains("no/t.json"))
      #expect(folder.names("run").isEmpty)
    }
  }
}
