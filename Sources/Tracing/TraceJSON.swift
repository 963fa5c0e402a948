/// A rank's spans in Chrome's trace format, which Perfetto and `chrome://tracing` open.
///
/// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format)
public enum TraceJSON {
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
    for (t, track) in tracer.tracks.enumerated() {
      let dropped = track.droppedCount > 0 ? " (\(track.droppedCount) earlier spans not kept)" : ""
      text +=
        #",\#n{"ph":"M","pid":\#(rank),"tid":\#(t),"name":"thread_name","args":{"name":"\#(escaped(track.name))\#(dropped)"}}"#
        .utf8
      text += #",\#n{"ph":"M","pid":\#(rank),"tid":\#(t),"name":"thread_sort_index","args":{"sort_index":\#(t)}}"#.utf8
      for span in track.spans {
        text += ",\n".utf8
        text += labels[Int(span.label)]
        appendNumber(t, to: &text)
        text += #","ts":"#.utf8
        appendMicroseconds(Int64(bitPattern: span.start &- origin), to: &text)
        text += #","dur":"#.utf8
        appendMicroseconds(Int64(bitPattern: span.end &- span.start), to: &text)
        text += #","args":{"step":"#.utf8
        appendNumber(Int(span.step), to: &text)
        text += "}}".utf8
      }
    }
    return text
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
