import Charts
import Foundation

/// Tables over all runs of a report, as text that every format shares.
package struct RunComparison {
  /// A table: a heading per column, and rows of cells.
  package struct Table: Hashable {
    /// The headings.
    package var columns: [String]
    /// The rows; each has a cell per column.
    package var rows: [[String]]
  }

  /// The post's figures beside those of one run.
  package struct PostTable {
    /// The run's index in the report.
    package let run: Int
    /// The widen factor.
    package let widenFactor: Int
    /// The rows: step; own and the post's training loss, evaluation loss, accuracy and seconds.
    package let rows: [[String]]
  }

  /// The runs.
  package let runs: [ReportedRun]

  /// Compares runs.
  package init(runs: [ReportedRun]) { self.runs = runs }

  /// The text in place of a value that is missing.
  static let missing = "–"

  /// One row per run: state, network, steps, results and speed.
  package var summary: Table {
    Table(
      columns: [
        "run", "network", "parameters", "steps", "epochs", "training loss", "evaluation loss", "accuracy",
        "best accuracy",
        "training time", "images/s", "ranks × threads",
      ],
      rows: runs.map { run in
        let last = run.lastEvaluation
        let kind = run.metrics.evaluations.filter { $0.isHeldOut == last?.isHeldOut && $0.isAverage == last?.isAverage }
        let best = kind.filter { $0.accuracy.isFinite }.max { $0.accuracy < $1.accuracy }
        return [
          run.name, run.network,
          run.description.map { NumberText.fixed(Double($0.parameterCount), decimals: 0) } ?? Self.missing,
          Self.steps(run),
          run.batchSize == nil ? Self.missing : String(format: "%.1f", Double(run.lastStep) * run.epochsPerStep),
          Self.loss(Self.closingLoss(run)), Self.loss(last?.loss), Self.percent(last?.accuracy),
          best.map { "\(Self.percent($0.accuracy)) (step \($0.step))" } ?? Self.missing,
          Self.duration(run.seconds.last),
          run.imagesPerSecond.map { NumberText.fixed($0, decimals: 0) } ?? Self.missing,
          run.ranksAndThreads ?? Self.missing,
        ]
      })
  }

  /// Which images and weights the quoted accuracy of a run is of; `nil` without evaluations.
  static func evaluationNote(_ run: ReportedRun) -> String? {
    run.lastEvaluation.map { evaluation in
      let count = evaluation.exampleCount.map { "\($0) " } ?? ""
      return "\(count)\(evaluation.isHeldOut ? "held-out" : "test") images"
        + (evaluation.isAverage ? ", averaged weights" : "") + ", after step \(evaluation.step)"
    }
  }

  /// The settings that differ, one row per run and one column per setting; `nil` if none differ.
  ///
  /// The output directory always differs, and is left out.
  package var differingSettings: Table? {
    let names = orderedSettingNames.filter { name in
      name != "output-dir" && Set(runs.map { $0.setting(name) }).count > 1
    }
    guard runs.count > 1, !names.isEmpty else { return nil }
    return Table(
      columns: ["run"] + names,
      rows: runs.map { run in [run.name] + names.map { run.setting($0) ?? Self.missing } })
  }

  /// The tables beside the post's figures, of all runs that repeat its experiment.
  package var postTables: [PostTable] {
    runs.indices.compactMap { index in
      let run = runs[index]
      // The post trains on the real images, which `auto` may not have found.
      let isSynthetic = run.setting("data") == "synthetic" || run.description.map { $0.dataDirectory == nil } == true
      guard !isSynthetic, let rows = PostResults.rows(for: Dictionary(run.settings.map { ($0.name, $0.value) }) { $1 })
      else {
        return nil
      }
      var previous = 0
      let table = rows.filter { $0.step <= run.lastStep }.map { row -> [String] in
        let window = previous + 1...row.step
        previous = row.step
        let evaluation = run.evaluations(heldOut: false, average: false).last { $0.step == row.step }
        return [
          "\(row.step)", Self.loss(run.meanLoss(of: window)), Self.loss(row.trainingLoss), Self.loss(evaluation?.loss),
          Self.loss(row.evaluationLoss), Self.percent(evaluation?.accuracy), Self.percent(row.accuracy),
          Self.seconds(run.trainingSeconds(of: window)), Self.seconds(row.seconds),
        ]
      }
      return PostTable(run: index, widenFactor: run.setting("widen-factor").flatMap { Int($0) } ?? 0, rows: table)
    }
  }

  /// The headings of ``PostTable/rows``.
  static let postColumns = [
    "step", "training loss", "post", "evaluation loss", "post", "accuracy", "post", "seconds", "post",
  ]

  /// All settings' names, in the order of the first run that has them.
  private var orderedSettingNames: [String] {
    var seen: Set<String> = []
    return runs.flatMap { $0.settings.map(\.name) }.filter { seen.insert($0).inserted }
  }

  /// The mean training loss since the last evaluation but one, as Trax reports it; of the last 100 steps without any.
  private static func closingLoss(_ run: ReportedRun) -> Double? {
    guard let last = run.metrics.steps.last?.step, let first = run.metrics.steps.first?.step else { return nil }
    let before = run.metrics.evaluations.last { $0.step < last }?.step ?? last - 100
    return run.meanLoss(of: max(before + 1, first)...last)
  }

  private static func steps(_ run: ReportedRun) -> String {
    switch run.progress {
    case .finished: "\(run.lastStep)"
    case .running: "\(run.lastStep) of \(run.plannedSteps.map(String.init) ?? "?"), still going"
    case .incomplete: "\(run.lastStep) of \(run.plannedSteps.map(String.init) ?? "?")"
    }
  }

  /// A loss with four decimals.
  static func loss(_ value: Double?) -> String {
    value.flatMap { $0.isFinite ? NumberText.fixed($0, decimals: 4) : nil } ?? missing
  }

  /// A fraction as percentage with two decimals.
  static func percent(_ value: Double?) -> String {
    value.flatMap { $0.isFinite ? NumberText.fixed(100 * $0, decimals: 2) + " %" : nil } ?? missing
  }

  private static func seconds(_ value: Double?) -> String { value.map { NumberText.fixed($0, decimals: 1) } ?? missing }

  /// A duration: `12.3 s`, `4 min 05 s`, `1 h 02 min`.
  package static func duration(_ seconds: Double?) -> String {
    guard let seconds, seconds.isFinite, seconds > 0, seconds < 1e12 else { return missing }
    if seconds < 60 { return NumberText.fixed(seconds, decimals: 1) + " s" }
    let whole = Int(seconds.rounded())
    if whole < 3600 { return "\(whole / 60) min " + String(format: "%02d", whole % 60) + " s" }
    return "\(whole / 3600) h " + String(format: "%02d", whole / 60 % 60) + " min"
  }
}
