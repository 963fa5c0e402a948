import Foundation
import Support

/// The report as tables of text: CSV (RFC 4180) and Markdown.
package struct TextReports {
  /// The runs.
  let comparison: RunComparison

  /// One row per evaluation of every run; a run without evaluations has one row without results.
  ///
  /// Columns: run, network, step, epochs, training seconds, mean training loss since the evaluation before, images and
  /// weights of the evaluation, loss, accuracy, and every setting that differs between the runs.
  var csv: String {
    let differing = comparison.differingSettings
    let names = differing.map { Array($0.columns.dropFirst()) } ?? []
    var rows = [
      [
        "run", "network", "step", "epochs", "training_seconds", "training_loss", "images", "weights", "evaluation_loss",
        "accuracy",
      ] + names
    ]
    for (index, run) in comparison.runs.enumerated() {
      let settings = differing.map { Array($0.rows[index].dropFirst()) } ?? []
      // The step of the evaluations before those of `step`; several evaluations may have one step.
      var (before, step) = (0, 0)
      for evaluation in run.metrics.evaluations {
        if evaluation.step > step { (before, step) = (step, evaluation.step) }
        rows.append(
          [
            run.name, run.network, "\(evaluation.step)", number(Double(evaluation.step) * run.epochsPerStep),
            number(run.trainingSeconds(of: 1...max(evaluation.step, 1))),
            number(run.meanLoss(of: min(before + 1, max(evaluation.step, 1))...max(evaluation.step, 1))),
            evaluation.isHeldOut ? "validation" : "test", evaluation.isAverage ? "average" : "raw",
            number(evaluation.loss), number(evaluation.accuracy),
          ] + settings)
      }
      if run.metrics.evaluations.isEmpty {
        rows.append(
          [
            run.name, run.network, "\(run.lastStep)", number(Double(run.lastStep) * run.epochsPerStep),
            number(run.seconds.last), "", "", "", "", "",
          ] + settings)
      }
    }
    return rows.map { $0.map(QuotedText.csv).joined(separator: ",") + "\r\n" }.joined()
  }

  /// A heading, notes, the comparison, the settings that differ, and the post's figures.
  var markdown: String {
    var lines = ["# Training runs", ""]
    lines += Self.markdownTable(comparison.summary)
    for run in comparison.runs {
      for note in run.notes { lines.append("- \(Self.markdownText(run.name)): \(Self.markdownText(note))") }
    }
    if comparison.runs.contains(where: { !$0.notes.isEmpty }) { lines.append("") }
    if let settings = comparison.differingSettings {
      lines += ["## Settings that differ", ""] + Self.markdownTable(settings)
    }
    for table in comparison.postTables {
      lines += [
        "## \(Self.markdownText(comparison.runs[table.run].name)) and the post, widen factor \(table.widenFactor)",
        "",
      ]
      lines += Self.markdownTable(RunComparison.Table(columns: RunComparison.postColumns, rows: table.rows))
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private func number(_ value: Double?) -> String { value.flatMap { $0.isFinite ? "\(Float($0))" : nil } ?? "" }

  /// A text as Markdown that is shown as it is, on one line.
  package static func markdownText(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case _ where Character(scalar).isNewline: result += " "
      // Some renderers do not know backslashes before these.
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "&": result += "&amp;"
      case "\\", "`", "*", "_", "{", "}", "[", "]", "#", "|", "~", "!": result += "\\\(scalar)"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  private static func markdownTable(_ table: RunComparison.Table) -> [String] {
    func row(_ cells: [String]) -> String { "| " + cells.map(markdownText).joined(separator: " | ") + " |" }
    return [row(table.columns), "|" + String(repeating: "---|", count: table.columns.count)] + table.rows.map(row) + [
      ""
    ]
  }
}
