import Collectives
import Foundation
import Training

/// Standard output: report lines, and between them a live line if it is a terminal.
final class StandardConsole: Console {
  /// Tells whether a terminal shows what is written here.
  let isLive = StandardConsole.reachesTerminal
  private var liveWidth = 0

  /// Prints a line, in place of the live one if there is one.
  func write(_ line: String) {
    put(blank + line + "\n")
    liveWidth = 0
  }

  /// Shows a line until the next one.
  func showLive(_ line: String) {
    put(blank + line)
    liveWidth = line.count
  }

  /// Tells whether a person's terminal shows this process's standard output.
  ///
  /// Open MPI gives every rank a pseudo-terminal even if its own output goes to a file, so there the parent's output
  /// decides: that is `mpirun` on its own host, and a daemon without a terminal elsewhere.
  private static var reachesTerminal: Bool {
    guard isatty(STDOUT_FILENO) == 1 else { return false }
    guard LaunchEnvironment(ProcessInfo.processInfo.environment).isLaunchedByMPI else {
      return true
    }
    let target = try? FileManager.default.destinationOfSymbolicLink(
      atPath: "/proc/\(getppid())/fd/\(STDOUT_FILENO)")
    return target?.hasPrefix("/dev/pts/") ?? false || target?.hasPrefix("/dev/tty") ?? false
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

/// One JSON object on one line, for programs that read the last line of an output.
enum JSONLine {
  /// Renders a value with names in snake case, in alphabetical order.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  static func render(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
