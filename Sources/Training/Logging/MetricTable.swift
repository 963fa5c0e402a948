import Foundation

/// The log `metrics.csv`: the contents of `metrics.jsonl` as a table, one row per step and per evaluation.
package final class MetricTable {
  /// The columns, named like the fields of `metrics.jsonl`.
  private static let columns = [
    "kind", "step", "loss", "learning_rate", "images_per_second", "gradient_norm", "compute_seconds",
    "communication_seconds", "data_seconds", "accuracy", "examples", "statistics", "mirrored_accuracy", "images",
    "weights", "slowest_rank", "slowest_seconds", "median_seconds", "skipped",
  ]
  /// The file.
  let file: LogFile

  /// Opens the table, and fills it with the lines that the log has already.
  ///
  /// A resumed run's table is therefore that of a run that never stopped, and may begin with any start of the run.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - log: The file `metrics.jsonl`, without lines of steps that are computed again.
  /// - Throws: ``CheckpointError`` if the file cannot be written.
  init(_ path: String, from log: String) throws {
    file = try LogFile(path, .replacing)
    var text = Self.columns.joined(separator: ",") + "\n"
    for line in (FileManager.default.contents(atPath: log) ?? Data()).split(separator: UInt8(ascii: "\n")) {
      text += Self.row(Data(line))
    }
    write(text)
  }

  /// Writes the row of a line of `metrics.jsonl`.
  func append(_ line: [UInt8]) { write(Self.row(Data(line))) }

  private func write(_ text: String) { Array(text.utf8).withUnsafeBytes { file.append($0) } }

  /// Returns the row of a line, with an empty cell for every field that the line has not or is `null`.
  ///
  /// The numbers are those of the log, character by character. No value of the log contains a comma.
  package static func row(_ line: Data) -> String {
    let text = String(decoding: line, as: UTF8.self).filter { !"{}\n".contains($0) }
    var values: [Substring: Substring] = [:]
    for member in text.split(separator: ",") {
      let parts = member.split(separator: ":", maxSplits: 1)
      if parts.count == 2, parts[1] != "null" { values[parts[0]] = parts[1] }
    }
    let cells = columns.map { values["\"\($0)\""]?.filter { $0 != "\"" } ?? "" }
    return cells.joined(separator: ",") + "\n"
  }
}
