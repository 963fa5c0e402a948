import Collectives
import Foundation
import Training

/// Standard output: report lines, and a live line between them if it is a terminal.
final class StandardConsole: Console {
  /// Whether standard output is a terminal.
  let isLive = StandardConsole.reachesTerminal
  private var liveWidth = 0

  /// Prints a line in place of the live line.
  func write(_ line: String) {
    put(blank + line + "\n")
    liveWidth = 0
  }

  /// Shows a line until the next one.
  func showLive(_ line: String) {
    put(blank + line)
    liveWidth = line.count
  }

  /// Whether a user's terminal shows this process's standard output.
  ///
  /// Open MPI gives every rank a pseudo-terminal even if its own output is redirected. Under MPI the parent's output decides:
  /// the parent is `mpirun` on the first host, and a daemon without a terminal elsewhere.
  private static var reachesTerminal: Bool {
    guard isatty(STDOUT_FILENO) == 1 else { return false }
    guard LaunchEnvironment(ProcessInfo.processInfo.environment).isLaunchedByMPI else {
      return true
    }
    let target = try? FileManager.default.destinationOfSymbolicLink(
      atPath: "/proc/\(getppid())/fd/\(STDOUT_FILENO)")
    return target?.hasPrefix("/dev/pts/") ?? false || target?.hasPrefix("/dev/tty") ?? false
  }

  /// The characters that erase the live line.
  private var blank: String {
    liveWidth == 0 ? "" : "\r" + String(repeating: " ", count: liveWidth) + "\r"
  }

  private func put(_ text: String) {
    // One write per line, so that mpirun does not interleave lines. A closed pipe must not end a run.
    try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
  }
}

/// Standard error: one line per call, without a buffer.
enum StandardError {
  /// Writes a line.
  static func write(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
}

/// One JSON object on one line, which programs read as the last line of an output.
enum JSONLine {
  /// Renders a value with names in snake case, in alphabetical order.
  ///
  /// - Parameters:
  ///   - value: The value.
  ///   - escapesSlashes: Whether `/` is written as `\/`, as `evaluate --json` does.
  /// - Returns: The line, without its end.
  /// - Throws: `EncodingError` for a number that JSON lacks.
  static func render(_ value: some Encodable, escapesSlashes: Bool = false) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = escapesSlashes ? .sortedKeys : [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
