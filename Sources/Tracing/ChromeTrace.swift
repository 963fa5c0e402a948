/// A rank's spans in Chrome's trace format, which Perfetto and `chrome://tracing` open.
///
/// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format)
public enum ChromeTrace {
  /// What stands before the first rank's events.
  public static let header = #"{"displayTimeUnit":"ms","traceEvents":["# + "\n"
  /// What stands between two ranks' events.
  public static let separator = ",\n"
  /// What stands behind the last rank's events.
  public static let footer = "\n]}\n"

  /// Renders a rank's rows and spans.
  ///
  /// - Parameters:
  ///   - tracer: The rank's spans; no thread may be recording.
  ///   - rank: The rank, which becomes the process of the trace.
  ///   - host: Its host's name.
  ///   - origin: The zero of the trace, in nanoseconds of this rank's clock.
  /// - Returns: Events separated by commas, in UTF-8.
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
      appendRow(track.name, track.droppedCount, tid: t, pid: rank, to: &text)
      for span in track.spans { append(span, tid: t, labels, origin, to: &text) }
    }
    // Buckets are on their way at the same time, but spans of one row may not overlap: each goes to the first row that is free.
    let track = tracer.tracks[tracer.communicationTrack]
    var ends: [UInt64] = []
    for span in track.spans.sorted(by: { $0.start < $1.start }) {
      let lane = ends.firstIndex { $0 <= span.start } ?? ends.count
      if lane == ends.count { ends.append(0) }
      ends[lane] = span.end
      append(span, tid: tracer.communicationTrack + lane, labels, origin, to: &text)
    }
    for lane in 0..<max(ends.count, 1) {
      appendRow(
        lane == 0 ? track.name : "\(track.name) \(lane + 1)", lane == 0 ? track.droppedCount : 0,
        tid: tracer.communicationTrack + lane, pid: rank, to: &text)
    }
    return text
  }

  /// Writes the name of a row.
  private static func appendRow(
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

  /// Writes a span.
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

  /// Writes nanoseconds as microseconds with three decimals.
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

  /// A text as it stands within JSON's quotes.
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

/// How the monotonic clocks of the ranks' hosts relate.
public enum ClockAlignment {
  /// Derives each rank's offset from when it left common barriers.
  ///
  /// Ranks of one host, recognised by its boot, read one clock. Between hosts the offset is the median over the barriers of the
  /// difference in leaving them, which is good to about the time that a message takes.
  ///
  /// - Parameters:
  ///   - times: For each rank, when it left each of the barriers, in nanoseconds of its clock.
  ///   - boots: For each rank, what identifies the boot of its host's kernel.
  /// - Returns: What must be subtracted from each rank's times to get rank 0's.
  public static func relativeToRank0(times: [[UInt64]], boots: [String]) -> [Int64] {
    guard let first = times.first else { return [] }
    var known: [String: Int64] = [:]
    return times.indices.map { rank in
      if rank == 0 || boots[rank] == boots[0] { return 0 }
      if let offset = known[boots[rank]] { return offset }
      let differences = zip(times[rank], first).map { Int64(bitPattern: $0 &- $1) }.sorted()
      let median = differences.isEmpty ? 0 : differences[differences.count / 2]
      known[boots[rank]] = median
      return median
    }
  }
}
