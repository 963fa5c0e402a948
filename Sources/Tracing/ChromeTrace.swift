import Support

/// The spans of all ranks in Chrome's Trace Event Format, which Perfetto and `chrome://tracing` open.
///
/// A rank becomes a process of the trace, a track a thread. The JSON is written directly, without an encoder: a track
/// holds up to 65,536 spans, all of one shape.
///
/// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format)
public enum ChromeTrace {
  /// The text before the first rank's events.
  public static let header = #"{"displayTimeUnit":"ms","traceEvents":["# + "\n"
  /// The text between two ranks' events.
  public static let separator = ",\n"
  /// The text after the last rank's events.
  public static let footer = "\n]}\n"

  /// Renders the tracks and spans of one rank.
  ///
  /// - Parameters:
  ///   - tracer: The rank's spans; no thread may record meanwhile.
  ///   - rank: The rank, used as process id.
  ///   - host: The name of the rank's host.
  ///   - origin: The zero of the trace's time, in nanoseconds of this rank's clock.
  /// - Returns: Events in UTF-8, separated by commas.
  public static func events(_ tracer: Tracer, rank: Int, host: String, origin: UInt64) -> [UInt8] {
    var text = [UInt8]()
    text.reserveCapacity(tracer.tracks.reduce(1_000) { $0 + min($1.recordedCount, $1.capacity) * 120 })
    text +=
      #"{"ph":"M","pid":\#(rank),"name":"process_name","args":{"name":"rank \#(rank) on \#(escaped(host))"}},"#.utf8
    text += #"\#n{"ph":"M","pid":\#(rank),"name":"process_sort_index","args":{"sort_index":\#(rank)}}"#.utf8
    let labels = tracer.labels.map {
      #"{"ph":"X","name":"\#(escaped($0.name))","cat":"\#(escaped($0.category))","pid":\#(rank),"tid":"#
    }
    .map { Array($0.utf8) }
    for (t, track) in tracer.tracks.enumerated() where t != tracer.communicationTrack {
      appendThreadName(track.name, track.droppedCount, tid: t, pid: rank, to: &text)
      for span in track.spans { append(span, tid: t, labels, origin, to: &text) }
    }
    // Reductions of several buckets are in flight at once, but spans of one thread must not overlap. Each span goes to
    // the first lane that is free; every lane becomes a thread of the trace.
    let track = tracer.tracks[tracer.communicationTrack]
    var ends: [UInt64] = []
    for span in track.spans.sorted(by: { $0.start < $1.start }) {
      let lane = ends.firstIndex { $0 <= span.start } ?? ends.count
      if lane == ends.count { ends.append(0) }
      ends[lane] = span.end
      append(span, tid: tracer.communicationTrack + lane, labels, origin, to: &text)
    }
    for lane in 0..<max(ends.count, 1) {
      appendThreadName(
        lane == 0 ? track.name : "\(track.name) \(lane + 1)", lane == 0 ? track.droppedCount : 0,
        tid: tracer.communicationTrack + lane, pid: rank, to: &text)
    }
    return text
  }

  /// Appends the name and the position of a thread.
  private static func appendThreadName(
    _ name: String, _ droppedCount: Int, tid: Int, pid: Int, to text: inout [UInt8]
  ) {
    let dropped = droppedCount > 0 ? " (\(droppedCount) earlier spans not kept)" : ""
    text +=
      #",\#n{"ph":"M","pid":\#(pid),"tid":\#(tid),"name":"thread_name","args":{"name":"\#(escaped(name))\#(dropped)"}}"#
      .utf8
    text +=
      #",\#n{"ph":"M","pid":\#(pid),"tid":\#(tid),"name":"thread_sort_index","args":{"sort_index":\#(tid)}}"#
      .utf8
  }

  /// Appends a span.
  private static func append(
    _ span: TraceSpan, tid: Int, _ labels: [[UInt8]], _ origin: UInt64, to text: inout [UInt8]
  ) {
    text += ",\n".utf8
    text += labels[Int(span.label)]
    appendNumber(tid, to: &text)
    text += #","ts":"#.utf8
    appendMicroseconds(Int64(bitPattern: span.start &- origin), to: &text)
    text += #","dur":"#.utf8
    appendMicroseconds(Int64(bitPattern: span.end &- span.start), to: &text)
    text += #","args":{"step":"#.utf8
    appendNumber(Int(span.step), to: &text)
    text += "}}".utf8
  }

  /// Appends nanoseconds as microseconds with three decimals.
  private static func appendMicroseconds(_ nanoseconds: Int64, to text: inout [UInt8]) {
    if nanoseconds < 0 { text.append(UInt8(ascii: "-")) }
    let magnitude = Int(nanoseconds.magnitude)
    appendNumber(magnitude / 1_000, to: &text)
    let rest = magnitude % 1_000
    text.append(UInt8(ascii: "."))
    for digit in [rest / 100, rest / 10 % 10, rest % 10] { text.append(UInt8(ascii: "0") + UInt8(digit)) }
  }

  private static func appendNumber(_ number: Int, to text: inout [UInt8]) {
    text += number.description.utf8
  }

  /// Returns a text as the content of a JSON string; control characters become spaces.
  private static func escaped(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "") { result, scalar in
      switch scalar {
      case "\"", "\\": result += "\\\(scalar)"
      case _ where scalar.value < 0x20: result += " "
      default: result.unicodeScalars.append(scalar)
      }
    }
  }
}

/// Offsets between the monotonic clocks of the ranks' hosts.
public enum ClockAlignment {
  /// Returns the offset of each rank's clock relative to rank 0's, in nanoseconds.
  ///
  /// Ranks with the same boot id are on one host and read the same clock. Between hosts the offset is the median over
  /// common barriers of the difference between the times at which two ranks left them. Its error is about the time that
  /// a message takes.
  ///
  /// - Parameters:
  ///   - times: Per rank, the times at which it left each barrier, in nanoseconds of its clock.
  ///   - boots: Per rank, the boot id of its host.
  /// - Returns: Per rank, the offset to subtract from its times to get rank 0's.
  public static func relativeToRank0(times: [[UInt64]], boots: [String]) -> [Int64] {
    guard let rank0 = times.first else { return [] }
    var offsets: [String: Int64] = [:]
    return times.indices.map { rank in
      if rank == 0 || boots[rank] == boots[0] { return 0 }
      if let offset = offsets[boots[rank]] { return offset }
      let differences = zip(times[rank], rank0).map { Int64(bitPattern: $0 &- $1) }
      let offset = differences.isEmpty ? 0 : differences.median
      offsets[boots[rank]] = offset
      return offset
    }
  }
}
