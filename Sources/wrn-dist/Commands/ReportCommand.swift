import ArgumentParser
import Collectives
import Foundation
import OpenMPI
import Reports
import Training

/// Makes a report over training runs.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Makes one page, image or table that compares training runs.",
    discussion: """
      html is one file that needs no network: curves with zoom and values under the pointer, tables, confusion matrices, \
      wrongly classified images, kernels, times and everything needed to repeat the runs. svg and png are the curves, csv \
      has one row per evaluation, md the tables. Runs that are still going or damaged are shown as far as they go. \
      docs/reports.md describes the page.
      """)

  @Argument(help: "Output directories of runs, or directories whose subdirectories are runs.") var runs: [String]
  @Option(help: "html, svg, png, csv or md. (default: by the ending of --output, else html)") var format: ReportFormat?
  @Option(help: "The file to write, or - for standard output. (default: report.FORMAT)") var output: String?
  @Option(
    help: """
      Classify this many test images, or all, with every run's checkpoint, for html. (default: use the predictions that \
      runs have left, and classify 1000 for a run without any; 0 classifies none)
      """)
  var evaluate: ReportEvaluation?
  @Option(help: "Threads for --evaluate. (default: the cores of this process)") var threads: Int?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads \(threads) must be at least 1.") }
  }

  func run() throws {
    let format = format ?? output.flatMap(ReportFormat.init(fileName:)) ?? .html
    guard evaluate == nil || format == .html else {
      throw UsageError("--evaluate is for --format html; the other formats show no predictions.")
    }
    let target = output ?? "report.\(format.rawValue)"
    // Before the work: a file that cannot be written ends the command at once.
    if target != "-" { try OutputFile.check(target) }
    var result = try Report(runs, version: WRNDist.configuration.version)
    // The other formats show no predictions.
    if format == .html {
      result.evaluate(
        evaluate?.limit ?? .images(1000), isForced: evaluate != nil,
        threadCount: threads ?? CPUAffinity.current().usableCores.count
      ) { StandardError.write("classifying test images for \($0)") }
    }
    let contents = try result.render(format)
    for note in result.notes.prefix(10) { StandardError.write("note: \(note)") }
    if result.notes.count > 10 { StandardError.write("note: and \(result.notes.count - 10) more of this kind") }
    if target == "-" {
      try FileHandle.standardOutput.write(contentsOf: contents)
      return
    }
    try OutputFile.replace(target, with: [UInt8](contents))
    let size = String(format: "%.1f", Double(contents.count) / 1e6)
    print("report of \(result.runCount) run\(result.runCount == 1 ? "" : "s") written to \(target) (\(size) MB)")
  }
}

/// The value of `--evaluate`: a number of images or `all`.
struct ReportEvaluation: ExpressibleByArgument {
  /// The number of images.
  let limit: Report.EvaluationLimit

  init?(argument: String) {
    if argument == "all" {
      limit = .all
    } else if let count = Int(argument), count >= 0 {
      limit = .images(count)
    } else {
      return nil
    }
  }
}

extension ReportFormat: ExpressibleByArgument {
  /// The format that a file's name ends in; `nil` for other endings.
  init?(fileName: String) {
    self.init(rawValue: (fileName as NSString).pathExtension.lowercased())
  }
}
