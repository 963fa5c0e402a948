import Foundation
import Training

/// Standard output: report lines, and between them a live line if it is a terminal.
final class StandardConsole: Console {
  private let isTerminal = isatty(STDOUT_FILENO) == 1
  private var liveWidth = 0

  /// Prints a line, in place of the live one if there is one.
  func write(_ line: String) {
    put(blank + line + "\n")
    liveWidth = 0
  }

  /// Shows a line until the next one; nothing on anything but a terminal.
  func showLive(_ line: String) {
    guard isTerminal else { return }
    put(blank + line)
    liveWidth = line.count
  }

  /// What removes the live line.
  private var blank: String {
    liveWidth == 0 ? "" : "\r" + String(repeating: " ", count: liveWidth) + "\r"
  }

  private func put(_ text: String) {
    // One write a line keeps lines whole when mpirun collects them. A closed pipe must not end a run.
    try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
  }
}
