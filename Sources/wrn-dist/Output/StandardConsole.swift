import Foundation
import Support
import Synchronization
import Training

/// The format of a run's report on standard output.
enum LogFormat: String, CaseIterable {
  /// Lines for a reader.
  case text
  /// One JSON object per line.
  case json
}

/// Standard output: report lines, and a live line between them if it is a terminal; or one JSON object per event.
final class StandardConsole: Console, Sendable {
  /// Whether the live line can be shown.
  let isLive: Bool
  /// The seconds between reports of progress: 10 as JSON, else none.
  let progressInterval: Double?
  private let format: LogFormat
  private let terminal = Terminal()
  private let liveWidth = Mutex(0)

  /// Writes to standard output.
  init(_ format: LogFormat = .text) {
    self.format = format
    isLive = terminal.isLive && format == .text
    progressInterval = format == .json ? 10 : nil
  }

  /// The columns of the terminal at this moment.
  var columns: Int { terminal.size.columns }

  /// The characters of progress bars.
  var bar: ProgressLine.Bar { terminal.bar }

  /// Prints a line in place of the live line; as JSON an event with its text, or nothing for a blank line.
  func write(_ line: String) {
    switch format {
    case .text: print(lines: [line])
    case .json:
      if line.isEmpty { return }
      let level = line.hasPrefix("warning: ") ? "warning" : "information"
      report(RunEvent("message", ["level": .text(level), "text": .text(line)]))
    }
  }

  /// Prints an event's lines, or the event as JSON.
  func report(_ event: RunEvent) {
    switch format {
    case .text: if !event.lines.isEmpty { print(lines: event.lines) }
    case .json: print(lines: [event.json(time: Date().timeIntervalSince1970)])
    }
  }

  /// Shows a line until the next one.
  func showLive(_ line: String) {
    liveWidth.withLock { width in
      // One that is at least as long overwrites the last one, which a blank line between would make flicker.
      put("\r" + line.leftAligned(width))
      width = line.count
    }
  }

  /// Removes the live line.
  func clearLive() { print(lines: []) }

  /// Calls a body, and shows its name and duration on a terminal from 2 s on.
  ///
  /// - Parameters:
  ///   - activity: The name, such as `reading the data set`.
  ///   - body: The activity, which may print lines.
  /// - Returns: The result of `body`.
  func showing<Value>(_ activity: String, _ body: () throws -> Value) rethrows -> Value {
    guard isLive else { return try body() }
    let isDone = Flag()
    let start = ProcessInfo.processInfo.systemUptime
    // Without the thread only the display is missing.
    try? SystemThread.start("wrn-progress", stackSize: 256 << 10) { [self] in
      while !isDone.isSet {
        usleep(250_000)
        let seconds = ProcessInfo.processInfo.systemUptime - start
        if seconds >= 2 {
          isDone.unlessSet {
            showLive(ActivityLine.render(activity, done: 0, of: nil, seconds: seconds, width: columns, bar: bar))
          }
        }
      }
    }
    defer {
      isDone.set()
      clearLive()
    }
    return try body()
  }

  private func print(lines: [String]) {
    liveWidth.withLock { width in
      let blank = width == 0 ? "" : "\r" + String(repeating: " ", count: width) + "\r"
      width = 0
      put(blank + lines.map { $0 + "\n" }.joined())
    }
  }

  private func put(_ text: String) {
    // One write per report, so that mpirun does not interleave lines. A closed pipe must not end a run.
    if !text.isEmpty { try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) }
  }

  /// A flag that two threads share.
  private final class Flag: Sendable {
    private let state = Mutex(false)
    var isSet: Bool { state.withLock { $0 } }
    func set() { state.withLock { $0 = true } }
    /// Calls a body unless the flag is set, and before it can be.
    func unlessSet(_ body: () -> Void) { state.withLock { if !$0 { body() } } }
  }
}
