import Charts
import Datasets
import Foundation
import Training

/// The format of a report.
public enum ReportFormat: String, CaseIterable, Sendable {
  /// One self-contained page with everything.
  case html
  /// The curves as a vector image.
  case svg
  /// The curves as an image of pixels.
  case png
  /// One row per evaluation.
  case csv
  /// The comparison as tables of Markdown.
  case md
}

/// A report over training runs: reads their directories and renders one of the formats.
///
/// Directories are only read. Runs that are still going, half-written, damaged or of other versions are shown as far as
/// they can be read, with a sentence about each defect.
public struct Report {
  /// How many test images are classified for runs that have left no predictions.
  public enum EvaluationLimit: Sendable, Hashable {
    /// This many; 0 for none.
    case images(Int)
    /// The whole test set.
    case all
  }

  private var runs: [ReportedRun]
  private let datasets = DatasetCache()
  private let version: String
  private let date: String

  /// Reads runs.
  ///
  /// - Parameters:
  ///   - paths: The runs' directories, or directories of runs.
  ///   - version: The version of the program.
  ///   - date: The date and time of the report.
  /// - Throws: ``ReportError`` of kind `bad` if a path is not a run.
  public init(_ paths: [String], version: String, date: Date = Date()) throws {
    runs = try RunCollection.find(paths).map { ReportedRun($0.directory, name: $0.name) }
    self.version = version
    self.date = date.formatted(.iso8601).replacing("T", with: " ").replacing("Z", with: " UTC")
  }

  /// What the runs lack, one sentence each with the run's name.
  public var notes: [String] { runs.flatMap { run in (run.notes + run.remarks).map { "\(run.name): \($0)" } } }

  /// The number of runs.
  public var runCount: Int { runs.count }

  /// Classifies test images with the checkpoints of runs that have left no predictions.
  ///
  /// - Parameters:
  ///   - limit: The number of images per run.
  ///   - isForced: Whether to do so for all runs with a checkpoint.
  ///   - threadCount: The worker threads.
  ///   - progress: Called with the name of each run before it is evaluated.
  public mutating func evaluate(
    _ limit: EvaluationLimit, isForced: Bool = false, threadCount: Int, progress: (String) -> Void = { _ in }
  ) {
    let count =
      switch limit {
      case .images(let count): count
      case .all: Int.max
      }
    guard count > 0 else { return }
    for index in runs.indices where runs[index].checkpoint != nil && (isForced || runs[index].predictions == nil) {
      do {
        let dataset = try datasets.dataset(of: runs[index])
        progress(runs[index].name)
        runs[index].predictions = try RunEvaluation.predictions(
          runs[index], dataset, imageCount: count, threadCount: threadCount)
      } catch {
        runs[index].remarks.append("The checkpoint could not be evaluated: \(error)")
      }
    }
  }

  /// Renders the report.
  ///
  /// - Parameter format: The format.
  /// - Returns: The file's contents.
  /// - Throws: ``ReportError`` if a tool is missing or an image cannot be encoded.
  public func render(_ format: ReportFormat) throws -> Data {
    let comparison = RunComparison(runs: runs)
    return switch format {
    case .html: Data(try page().utf8)
    case .svg: Data(figure.svg.utf8)
    case .png: try SVGRasterizer.png(figure.svg)
    case .csv: Data(TextReports(comparison: comparison).csv.utf8)
    case .md: Data(TextReports(comparison: comparison).markdown.utf8)
    }
  }

  private func page() throws -> String {
    // 3.4 KB per image: a page of many runs shows fewer of each.
    let mistakes = runs.count <= 8 ? 24 : max(192 / runs.count, 4)
    let details = try runs.map { try RunDetails($0, datasets: datasets, mistakeCount: mistakes) }
    return try ReportPage(details: details, version: version, date: date).html()
  }

  /// The curves of all runs.
  private var figure: ChartFigure {
    let charts = RunCharts(runs)
    let drawn = RunCharts.Quantity.allCases.map { ($0, charts.lines($0)) }.filter { !$0.1.isEmpty }
    return ChartFigure(
      title: runs.count == 1 ? "Training run \(runs[0].name)" : "\(runs.count) training runs",
      subtitle: "wrn-dist \(version), \(date)", charts: drawn.map { charts.chart($0, $1) })
  }
}
