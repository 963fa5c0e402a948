import Foundation
import Reports
import Support

/// The comparison of a sweep's runs, for the terminal and as CSV.
struct SweepSummary {
  /// The results of one run.
  struct Row {
    /// The run.
    let run: SweepRun
    /// `finished`, `failed`, `stopped` or `waiting`.
    let state: String
    /// The exit code of this start's process; `nil` if none was started.
    let exitCode: Int32?
  }

  private let columns: [String]
  private let cells: [[String]]

  /// Reads the results of all runs from their directories.
  ///
  /// - Parameters:
  ///   - rows: The runs in the order of the grid.
  ///   - grid: The grid; flags with several values are columns.
  init(_ rows: [Row], grid: SweepGrid) {
    let varied = grid.axes.filter { $0.values.count > 1 }.map(\.name)
    columns =
      ["run"] + varied
      + ["state", "exit_code", "step", "steps", "train_loss", "eval_loss", "accuracy", "seconds", "images_per_second"]
    cells = rows.map { row in
      let status = RunStatus(row.run.directory)
      let totals = MetricTotals(row.run.directory, window: row.run.configuration.evalEvery)
      let settings = Dictionary(uniqueKeysWithValues: row.run.settings.map { ($0.name, $0.value) })
      func number(_ value: Double?, _ format: String) -> String { value.map { String(format: format, $0) } ?? "" }
      return [row.run.name] + varied.map { settings[$0] ?? "" } + [
        row.state, row.exitCode.map(String.init) ?? "", status.step.map(String.init) ?? "",
        status.steps.map(String.init) ?? "", number(totals.trainLoss, "%.8f"), number(status.evaluationLoss, "%.8f"),
        number(status.accuracy, "%.8f"), number(totals.seconds, "%.2f"), number(totals.imagesPerSecond, "%.1f"),
      ]
    }
  }

  /// The comparison as CSV (RFC 4180), with a header.
  var csv: String {
    ([columns] + cells).map { $0.map(QuotedText.csv).joined(separator: ",") + "\r\n" }.joined()
  }

  /// The comparison in columns, without those that no run has a value for.
  ///
  /// - Parameter width: The columns of the terminal; longer lines are truncated.
  /// - Returns: A heading, then a line per run.
  func lines(width: Int) -> [String] {
    // The settings are in the names.
    let shown = ["run", "state", "step", "train_loss", "eval_loss", "accuracy", "seconds", "images_per_second"]
      .compactMap { columns.firstIndex(of: $0) }.filter { i in cells.contains { !$0[i].isEmpty } }
    let titles = ["train_loss": "train loss", "eval_loss": "eval loss", "images_per_second": "images/s"]
    let rows = [shown.map { titles[columns[$0]] ?? columns[$0] }] + cells.map { row in shown.map { row[$0] } }
    let widths = shown.indices.map { i in rows.map { $0[i].count }.max() ?? 0 }
    return rows.map { row in
      let text = row.indices.map { i in
        i < 2 ? row[i].leftAligned(widths[i]) : row[i].rightAligned(widths[i])
      }.joined(separator: "  ")
      return String(text.prefix(max(20, width)))
    }
  }
}

/// Sums over a run's `metrics.jsonl`.
struct MetricTotals {
  /// The mean loss of the steps since the last report before the end, as Trax reports it.
  private(set) var trainLoss: Double?
  /// The time of all steps.
  private(set) var seconds: Double?
  /// The mean speed of all steps.
  private(set) var imagesPerSecond: Double?

  /// Reads a run's directory.
  ///
  /// - Parameters:
  ///   - directory: The run's directory.
  ///   - window: The steps between reports; 0 means 1,000.
  init(_ directory: String, window: Int) {
    let steps = MetricsFile("\(directory)/metrics.jsonl").steps
    let batchSize = RunStatus.settings(directory)["batch-size"].flatMap { Int($0) }.map { Double($0) } ?? 0
    let speeds = steps.map { Double($0.imagesPerSecond) }.filter { $0.isFinite && $0 > 0 }
    let time = speeds.reduce(0) { $0 + batchSize / $1 }
    if time > 0 { (seconds, imagesPerSecond) = (time, Double(speeds.count) * batchSize / time) }
    let known = steps.filter(\.loss.isFinite)
    guard let last = known.last else { return }
    // Reports follow step 1 and every multiple of the window.
    let interval = window > 0 ? window : 1000
    let start = max((last.step - 1) / interval * interval, last.step > 1 ? 1 : 0)
    let losses = known.filter { $0.step > start }.compactMap { RunStatus.decimal($0.loss) }
    if !losses.isEmpty { trainLoss = losses.reduce(0, +) / Double(losses.count) }
  }
}
