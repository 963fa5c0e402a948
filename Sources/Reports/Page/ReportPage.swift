import Charts
import Foundation
import Mustache

/// The HTML report of runs: one file that loads nothing.
struct ReportPage {
  /// The runs with their images.
  let details: [RunDetails]
  /// The version of the program that makes the report.
  let version: String
  /// The date and time of the report.
  let date: String

  private var runs: [ReportedRun] { details.map(\.run) }

  /// The page.
  ///
  /// - Throws: ``ReportError`` of kind `internal` if the template cannot be parsed.
  func html() throws -> String {
    MustacheContentTypes.register(PageTemplate.EscapedText(), named: PageTemplate.contentType)
    let template: MustacheTemplate
    do { template = try MustacheTemplate(string: PageTemplate.mustache) } catch {
      throw ReportError(.internal, "the report's template is invalid: \(error).")
    }
    return template.render(context)
  }

  private var context: [String: Any] {
    let charts = RunCharts(runs)
    let quantities = RunCharts.Quantity.allCases.map { ($0, charts.lines($0)) }.filter { !$0.1.isEmpty }
    let parts = Dictionary(
      uniqueKeysWithValues: runs.indices.map { ($0, charts.stepParts($0)) }.filter { !$0.1.isEmpty })
    let comparison = RunComparison(runs: runs)
    var context: [String: Any] = [
      "title": runs.count == 1 ? "Training run \(runs[0].name)" : "\(runs.count) training runs",
      "subtitle": subtitle, "style": PageStyle.css + (runs.count > 8 ? "\n.chart .pale{opacity:.12}" : ""),
      "has_many": runs.count > 4, "script": PageScript.javaScript, "version": version, "date": date,
      "data": PageData(charts, quantities, parts: parts).text, "notes": notes, "has_notes": !notes.isEmpty,
      "cards": cards, "has_cards": runs.count <= 8,
      "legend": runs.indices.map {
        ["index": "\($0)", "swatch": Self.swatch(charts.style($0)), "name": runs[$0].name]
      },
      "charts": quantities.map { quantity, lines in chartContext(charts, quantity, lines) },
      "post_source": Self.postSource, "has_post": false, "has_settings": false,
    ]
    let summary = comparison.summary
    context["summary_columns"] = summary.columns.map { $0.prefix(1).uppercased() + $0.dropFirst() }
    context["summary_rows"] = rows(summary, charts)
    if let settings = comparison.differingSettings {
      context["has_settings"] = true
      context["settings_columns"] = settings.columns
      context["settings_rows"] = rows(settings, charts)
    }
    let post = comparison.postTables
    if !post.isEmpty {
      context["has_post"] = true
      context["post"] = post.map { postContext($0, charts) }
    }
    context["runs"] = details.enumerated().map { index, run in
      run.context(
        swatch: Self.swatch(charts.style(index)), isOpen: runs.count <= 4,
        parts: parts[index].map { partContext(charts, index, $0) })
    }
    return context
  }

  private var subtitle: String {
    let networks = Set(runs.map(\.network)).sorted { $0.compare($1, options: .numeric) == .orderedAscending }
    let data = Set(runs.map { $0.setting("dataset") ?? "cifar10" }).sorted().map {
      $0 == "cifar10" ? "CIFAR-10" : "CIFAR-100"
    }
    let listed =
      networks.prefix(6).joined(separator: ", ") + (networks.count > 6 ? " and \(networks.count - 6) more" : "")
    return "\(listed) on \(data.joined(separator: " and ")) · \(date)"
  }

  private var notes: [[String: Any]] {
    details.flatMap { detail in detail.run.notes.map { ["name": detail.run.name, "text": $0] } }
  }

  private var cards: [[String: Any]] {
    runs.enumerated().map { index, run in
      [
        "swatch": Self.swatch(LineStyle(index: index)), "name": run.name,
        "accuracy": RunComparison.percent(run.lastEvaluation?.accuracy),
        "what": RunComparison.evaluationNote(run) ?? "no evaluation yet", "network": run.network,
        "steps":
          "\(run.lastStep)\(run.progress == .finished ? "" : " of \(run.plannedSteps.map(String.init) ?? "?")") steps",
        "time": [
          RunComparison.duration(run.seconds.last),
          run.imagesPerSecond.map { "\(NumberText.fixed($0, decimals: 0)) images/s" },
        ].compactMap { $0 }.joined(separator: ", "),
      ]
    }
  }

  private func rows(_ table: RunComparison.Table, _ charts: RunCharts) -> [[String: Any]] {
    table.rows.enumerated().map { index, row in
      ["swatch": Self.swatch(charts.style(index)), "name": row[0], "cells": Array(row.dropFirst())]
    }
  }

  private func chartContext(
    _ charts: RunCharts, _ quantity: RunCharts.Quantity, _ lines: [RunCharts.Line]
  ) -> [String: Any] {
    // A drawing for readers without JavaScript, and for the first glance.
    let columns = min(max(3000 / max(runs.count, 1), 60), 300)
    return [
      "key": quantity.rawValue, "title": quantity.title, "caption": caption(quantity, lines),
      "svg": ChartFigure.element(charts.chart(quantity, lines, drawnColumns: columns), hasHeading: false),
    ]
  }

  private func caption(_ quantity: RunCharts.Quantity, _ lines: [RunCharts.Line]) -> String {
    switch quantity {
    case .trainingLoss, .imagesPerSecond:
      lines.contains { $0.isPale }
        ? "Means; pale: single steps." : ""
    case .evaluationLoss, .accuracy:
      if lines.allSatisfy(\.variant.isEmpty) {
        "Test images."
      } else if runs.count < ChartTheme.lineColorCount {
        "Dashed: held-out images, averaged weights."
      } else {
        // From here on the dashes tell runs apart, too.
        "Several lines per run: point at them for their names."
      }
    }
  }

  private func postContext(_ table: RunComparison.PostTable, _ charts: RunCharts) -> [String: Any] {
    let keys = [
      "step", "training_loss", "post_training_loss", "loss", "post_loss", "accuracy", "post_accuracy", "seconds",
      "post_seconds",
    ]
    return [
      "swatch": Self.swatch(charts.style(table.run)), "name": runs[table.run].name, "factor": "\(table.widenFactor)",
      "rows": table.rows.map { Dictionary(uniqueKeysWithValues: zip(keys, $0)) },
    ]
  }

  private func partContext(
    _ charts: RunCharts, _ run: Int, _ parts: [(name: String, line: RunCharts.Line)]
  ) -> [String: Any] {
    [
      "key": "parts-\(run)",
      "legend": parts.map { ["swatch": Self.swatch($0.line.style), "name": $0.name] },
      "svg": ChartFigure.element(charts.stepPartChart(parts), hasHeading: false),
    ]
  }

  /// A short stroke in a line's style.
  static func swatch(_ style: LineStyle) -> String {
    #"<svg class="chart swatch" aria-hidden="true"><path class="line \#(style.classes)" d="M0 5h22"/></svg>"#
  }

  private static let postSource =
    "The post's columns are the log that S. Maheshkar's post on Wide Residual Networks with Trax printed (December 2020). "
    + "The training loss is the mean over the steps since the row above, the evaluation covers 1,280 test images. The "
    + "seconds are those of the post's own machine. Two runs of one configuration differ by 2 to 4 % in training loss, and "
    + "by 1 to 4 points in accuracy."
}
