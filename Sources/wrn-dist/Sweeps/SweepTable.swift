import Foundation
import Support
import Training

/// The live table of a sweep's runs, fitted to a terminal.
struct SweepTable {
  /// A line of the table.
  struct Row {
    /// The run's name.
    let name: String
    /// `waiting`, `running`, `finished`, `stopped` or `failed`.
    let state: String
    /// Its progress; unset until it has started.
    let status: RunStatus?
  }

  /// Returns the lines: a summary, then the runs that fit; those that run come first.
  ///
  /// - Parameters:
  ///   - rows: All runs in the order of the grid.
  ///   - terminal: The terminal, for colors and the characters of bars.
  ///   - size: Its columns and rows.
  /// - Returns: Fewer lines than the terminal has rows, each of fewer characters than it has columns.
  static func render(_ rows: [Row], _ terminal: Terminal, size: (columns: Int, rows: Int)) -> [String] {
    let states = ["running", "finished", "failed", "stopped", "waiting"]
    let counts = states.compactMap { state in
      let count = rows.count { $0.state == state }
      return count == 0 ? nil : "\(count) \(state)"
    }
    let available = max(1, size.columns - 1)
    let summary = "\(rows.count) runs: \(counts.joined(separator: ", "))"
    let room = max(1, size.rows - 3)
    var shown = rows
    if rows.count > room {
      let order = Dictionary(uniqueKeysWithValues: states.enumerated().map { ($1, $0) })
      let chosen = rows.indices.sorted { (order[rows[$0].state] ?? 9, $0) < (order[rows[$1].state] ?? 9, $1) }
      shown = chosen.prefix(room).sorted().map { rows[$0] }
    }
    let nameWidth = min(shown.map(\.name.count).max() ?? 0, max(6, available / 3))
    return [String(summary.prefix(available))]
      + shown.map { line($0, nameWidth: nameWidth, available: available, terminal) }
  }

  private static func line(_ row: Row, nameWidth: Int, available: Int, _ terminal: Terminal) -> String {
    let color = ["running": 36, "finished": 32, "failed": 31, "stopped": 33][row.state] ?? 0
    // The end of a long name distinguishes runs, because seeds come last.
    let name = row.name.count > nameWidth ? "…" + row.name.suffix(nameWidth - 1) : row.name.leftAligned(nameWidth)
    let state = row.state.leftAligned(8)
    guard available >= nameWidth + 10 else { return String("\(row.name) \(row.state)".suffix(available)) }
    var text = ""
    if let status = row.status, let step = status.step, let steps = status.steps {
      var progress = ProgressLine(step: step, of: steps)
      (progress.loss, progress.accuracy) = (status.loss, status.accuracy)
      (progress.imagesPerSecond, progress.secondsLeft) = (status.imagesPerSecond, status.secondsLeft)
      let room = available - nameWidth - 10
      if room >= 9 { text = " " + progress.render(width: room, bar: terminal.bar) }
    }
    return "\(name) \(terminal.colored(state, color))\(text)"
  }
}
