import Foundation
import Testing
import Tracing

/// Recording of spans, and the trace file that they become.
@Suite struct TracerTests {
  struct File: Decodable {
    struct Event: Decodable {
      let ph: String
      let pid: Int
      let tid: Int?
      let name: String
      let cat: String?
      let ts: Double?
      let dur: Double?
      let args: [String: Value]
    }
    enum Value: Decodable, Equatable {
      case number(Int)
      case text(String)
      init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int.self) {
          self = .number(number)
        } else {
          self = .text(try container.decode(String.self))
        }
      }
    }
    let traceEvents: [Event]
  }

  private func decode(_ ranks: [[UInt8]]) throws -> [File.Event] {
    let text =
      ChromeTrace.header + ranks.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ChromeTrace.separator)
      + ChromeTrace.footer
    return try JSONDecoder().decode(File.self, from: Data(text.utf8)).traceEvents
  }

  @Test func spansOfTwoRanksBecomeOneFile() throws {
    let ranks = [0, 1].map { rank in
      let tracer = Tracer(workerCount: 2)
      let label = tracer.label("forward \"a\\b\"\n", "compute")
      tracer.step = 7
      tracer.record(label, track: 1, from: 1_000_500, to: 1_002_501)
      tracer.record(label, track: tracer.communicationTrack, from: 999_000, to: 999_001)
      return ChromeTrace.events(tracer, rank: rank, host: "node0\(rank)", origin: 1_000_000)
    }
    let events = try decode(ranks)
    let spans = events.filter { $0.ph == "X" }
    #expect(spans.map(\.pid) == [0, 0, 1, 1])
    #expect(spans.map(\.tid) == [1, 2, 1, 2])
    #expect(spans.map(\.ts) == [0.5, -1, 0.5, -1])
    #expect(spans.map(\.dur) == [2.001, 0.001, 2.001, 0.001])
    #expect(spans.allSatisfy { $0.name == "forward \"a\\b\" " && $0.cat == "compute" })
    #expect(spans.allSatisfy { $0.args == ["step": .number(7)] })
    let threads = events.filter { $0.name == "thread_name" && $0.pid == 1 }
    #expect(threads.map(\.args) == ["main", "worker 1", "communication"].map { ["name": .text($0)] })
    let names = events.filter { $0.name == "process_name" }.map(\.args)
    #expect(names == [["name": .text("rank 0 on node00")], ["name": .text("rank 1 on node01")]])
  }

  @Test func overlappingReductionsHaveSeparateLanes() throws {
    let tracer = Tracer(workerCount: 1)
    let track = tracer.communicationTrack
    // Recorded in the order of their ends: a and b overlap, c starts when both have ended.
    for (name, times) in [("b", 200...250), ("a", 100...300), ("c", 300...400)]
      as [(String, ClosedRange<UInt64>)]
    {
      let label = tracer.label(name, "exchange")
      tracer.record(label, track: track, from: times.lowerBound, to: times.upperBound)
    }
    let events = try decode([ChromeTrace.events(tracer, rank: 0, host: "a", origin: 0)])
    let lanes = Dictionary(
      uniqueKeysWithValues: events.filter { $0.ph == "X" }.map { ($0.name, $0.tid) })
    #expect(lanes == ["a": 1, "b": 2, "c": 1])
    let names = events.filter { $0.name == "thread_name" }.map(\.args)
    #expect(names == ["main", "communication", "communication 2"].map { ["name": .text($0)] })
  }

  @Test func aFullTrackKeepsTheLatest() throws {
    let tracer = Tracer(workerCount: 1, capacity: 3)
    let label = tracer.label("step", "step")
    for i in 1...5 {
      tracer.step = i
      tracer.record(label, track: 0, from: UInt64(i), to: UInt64(i + 1))
    }
    #expect(tracer.tracks[0].spans.map(\.step) == [3, 4, 5] && tracer.tracks[0].droppedCount == 2)
    let events = try decode([ChromeTrace.events(tracer, rank: 0, host: "a", origin: 0)])
    #expect(events.contains { $0.args["name"] == .text("main (2 earlier spans not kept)") })
  }

  @Test func withoutATracerNothingIsRecorded() {
    let tracer: Tracer? = nil
    let label = tracer.label("step", "step")
    #expect(tracer.now() == 0 && label.number == 0)
    tracer.record(label, since: 0)
  }

  @Test func spansEndAfterTheyStart() {
    let tracer: Tracer? = Tracer(workerCount: 1)
    let label = tracer.label("wait", "wait")
    let start = tracer.now()
    tracer.record(label, since: start)
    #expect(tracer?.tracks[0].spans.allSatisfy { $0.start == start && $0.end >= start } == true)
    #expect(start > 0 && tracer?.tracks[0].recordedCount == 1)
  }

  @Test func offsetsBetweenHostsAreTheMedian() {
    let offsets = ClockAlignment.relativeToRank0(
      times: [[100, 200, 300], [101, 199, 305], [5_100, 5_207, 5_290], [5_900, 5_900, 5_900], [90, 190, 280]],
      boots: ["a", "a", "b", "b", "c"])
    #expect(offsets == [0, 0, 5_000, 5_000, -10])
    #expect(ClockAlignment.relativeToRank0(times: [], boots: []).isEmpty)
  }
}
