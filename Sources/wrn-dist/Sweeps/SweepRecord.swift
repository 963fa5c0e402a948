import Foundation
import Support
import Training
import Yams

/// The file `sweep.yaml` in a sweep's directory: the settings of every run, by which a changed sweep is recognized.
struct SweepRecord: Codable, Equatable {
  /// The settings of each run by its name.
  var runs: [String: [String: String]]

  /// The record of runs.
  init(_ runs: [SweepRun]) {
    self.runs = Dictionary(
      uniqueKeysWithValues: runs.map { run in
        (run.name, Dictionary(uniqueKeysWithValues: run.comparedSettings.map { ($0.name, $0.value) }))
      })
  }

  /// Writes the record of a new sweep, or compares it with the one of the first start.
  ///
  /// Tasks of a job array may do so at the same time: the first one links its file to the path, and the others compare.
  ///
  /// - Parameters:
  ///   - directory: The sweep's directory, which is created if it does not exist.
  ///   - file: The sweep's file, for messages. If `nil`, the sweep has none.
  /// - Throws: ``UsageError`` if the directory holds a sweep with other settings, `CheckpointError` if it cannot be written.
  func confirm(in directory: String, file: String?) throws {
    if try isConfirmed(in: directory, file: file) { return }
    try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let encoder = YAMLEncoder()
    encoder.options.sortKeys = true
    let text = "# The runs of a sweep and their settings; wrn-dist sweep compares them at every start.\n"
    guard access(directory, W_OK) == 0 else {
      throw CheckpointError(
        .cannotCreate, "the output directory \(directory) cannot be written; give another one with --output-dir.")
    }
    let path = Self.path(in: directory)
    let temporary = "\(path).\(UUID().uuidString)"
    defer { unlink(temporary) }
    try OutputFile.replace(temporary, with: text + encoder.encode(self))
    if link(temporary, path) == 0 { return }
    if errno == EEXIST, try isConfirmed(in: directory, file: file) { return }
    // A file system without hard links: tasks replace equal files.
    guard rename(temporary, path) == 0 else {
      throw CheckpointError(.inputOutput, "\(path) cannot be written: \(String(cString: strerror(errno))).")
    }
  }

  private static func path(in directory: String) -> String { "\(directory)/sweep.yaml" }

  /// Compares the record with that of an earlier start.
  ///
  /// - Returns: Whether there is one.
  /// - Throws: ``UsageError`` if it is damaged or has other settings.
  private func isConfirmed(in directory: String, file: String?) throws -> Bool {
    let path = Self.path(in: directory)
    guard let data = FileManager.default.contents(atPath: path) else { return false }
    guard let earlier = try? YAMLDecoder().decode(SweepRecord.self, from: String(decoding: data, as: UTF8.self)) else {
      throw UsageError("\(path) is damaged; remove it if the settings of the sweep are those of its first start.")
    }
    if let difference = difference(from: earlier) {
      throw UsageError(
        "\(directory) holds a sweep with other settings\(file.map { " than \($0) gives now" } ?? ""): \(difference); give "
          + "those again, or another --output-dir.")
    }
    return true
  }

  /// Returns the names of the runs of the sweep in a directory; `nil` if it has none.
  static func runNames(in directory: String) -> [String]? {
    guard let text = try? String(contentsOfFile: path(in: directory), encoding: .utf8),
      let record = try? YAMLDecoder().decode(SweepRecord.self, from: text)
    else { return nil }
    return record.runs.keys.sorted { $0.compare($1, options: .numeric) == .orderedAscending }
  }

  /// Describes the first difference, `nil` if there is none.
  private func difference(from earlier: SweepRecord) -> String? {
    if let name = earlier.runs.keys.sorted().first(where: { runs[$0] == nil }) {
      return "the run \(name) is missing now"
    }
    for name in runs.keys.sorted() {
      guard let before = earlier.runs[name], let now = runs[name] else { return "the run \(name) is new" }
      // A record of an older program has more settings of the machine.
      let keys = Set(before.keys).union(now.keys).subtracting(SweepRun.machineSettings)
      for key in keys.sorted() where before[key] != now[key] {
        return "\(key) of the run \(name) was \(before[key] ?? "not set") and is now \(now[key] ?? "not set")"
      }
    }
    return nil
  }
}
