import Collectives
import Foundation
import Glibc
import Training

/// The terminal that shows this process's standard output, if there is one.
struct Terminal {
  /// Whether lines can be replaced: a terminal shows the output, and `TERM` is not `dumb`.
  let isLive: Bool
  /// Whether text may be colored: ``isLive``, and `NO_COLOR` is unset.
  let usesColor: Bool
  /// The characters of progress bars.
  let bar: ProgressLine.Bar
  // The terminal's path under MPI, where standard output is a pseudo-terminal of mpirun; else nil.
  private let path: String?

  /// Describes the terminal of this process.
  init(environment: [String: String] = ProcessInfo.processInfo.environment) {
    let (isTerminal, path) = Self.find(environment)
    self.path = path
    isLive = isTerminal && environment["TERM"] != "dumb"
    usesColor = isLive && (environment["NO_COLOR"] ?? "").isEmpty
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty } ?? ""
    bar = locale.uppercased().contains("UTF-8") || locale.uppercased().contains("UTF8") ? .blocks : .ascii
  }

  /// The columns and rows at this moment; 80 and 24 if they are unknown.
  var size: (columns: Int, rows: Int) {
    let descriptor = path.map { open($0, O_RDONLY | O_NOCTTY | O_CLOEXEC) } ?? STDOUT_FILENO
    defer { if path != nil, descriptor >= 0 { close(descriptor) } }
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return (80, 24) }
    return (Int(size.ws_col), size.ws_row > 0 ? Int(size.ws_row) : 24)
  }

  /// Returns a text in a color of ANSI (31 is red, 32 green, 33 yellow, 36 cyan), or unchanged.
  func colored(_ text: String, _ color: Int) -> String {
    usesColor ? "\u{1B}[\(color)m\(text)\u{1B}[0m" : text
  }

  /// Returns whether a terminal shows the output, and its path under MPI.
  ///
  /// Open MPI gives every rank a pseudo-terminal even if its own output is redirected. Under MPI the parent's output decides:
  /// the parent is `mpirun` on the first host, and a daemon without a terminal elsewhere.
  private static func find(_ environment: [String: String]) -> (isTerminal: Bool, path: String?) {
    guard isatty(STDOUT_FILENO) == 1 else { return (false, nil) }
    guard LaunchEnvironment(environment).isLaunchedByMPI else { return (true, nil) }
    let target = try? FileManager.default.destinationOfSymbolicLink(
      atPath: "/proc/\(getppid())/fd/\(STDOUT_FILENO)")
    let isTerminal = target?.hasPrefix("/dev/pts/") ?? false || target?.hasPrefix("/dev/tty") ?? false
    return (isTerminal, target)
  }
}
