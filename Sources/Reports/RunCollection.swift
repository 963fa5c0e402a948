import Foundation
import Training

/// The directories of the runs of a report, with a unique name each.
package enum RunCollection {
  /// Finds the runs that paths name.
  ///
  /// A path is a run's directory, or a directory whose subdirectories are runs, as `sweep` and `runs/` have them. A shell's
  /// pattern `sweep/*` also names the files beside the runs; files are skipped if there are runs.
  ///
  /// - Parameter paths: The paths.
  /// - Returns: Directories and names, in the order of the paths; subdirectories by name. A directory counts once.
  /// - Throws: ``ReportError`` of kind `bad` if a path is neither.
  package static func find(_ paths: [String]) throws -> [(directory: String, name: String)] {
    var directories: [String] = []
    for path in paths {
      var isDirectory: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
      if exists, !isDirectory.boolValue, paths.count > 1 { continue }
      guard isDirectory.boolValue else { throw ReportError(.bad, missing(path)) }
      let found = isRun(path) ? [path] : subdirectories(of: path).filter(isRun)
      guard !found.isEmpty else {
        throw ReportError(
          .bad,
          "\(quoted(path)) holds no run: neither it nor a directory in it has a config.yaml, metrics.jsonl or checkpoints; "
            + "give the output directory of a run.")
      }
      directories += found
    }
    guard !directories.isEmpty else { throw ReportError(.bad, missing(paths.first ?? "")) }
    var seen: Set<String> = []
    directories = directories.filter { seen.insert(URL(fileURLWithPath: $0).standardizedFileURL.path).inserted }
    return zip(directories, names(directories)).map { (directory: $0, name: $1) }
  }

  /// Returns the shortest endings of paths that tell them apart.
  package static func names(_ directories: [String]) -> [String] {
    let components = directories.map { path in
      URL(fileURLWithPath: path).standardizedFileURL.path.split(separator: "/").map(String.init)
    }
    return components.map { own in
      guard !own.isEmpty else { return "/" }
      for length in 1...own.count {
        let ending = own.suffix(length)
        if components.count(where: { $0.suffix(length) == ending }) == 1 || length == own.count {
          return ending.joined(separator: "/")
        }
      }
      return own.joined(separator: "/")
    }
  }

  private static func isRun(_ path: String) -> Bool {
    ["config.yaml", "metrics.jsonl", "checkpoints", RunDescription.fileName].contains {
      FileManager.default.fileExists(atPath: "\(path)/\($0)")
    }
  }

  private static func subdirectories(of path: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.filter { !$0.hasPrefix(".") }.sorted { $0.compare($1, options: .numeric) == .orderedAscending }
      .map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }
  }

  private static func missing(_ path: String) -> String {
    "there is no run \(quoted(path)); give the output directory of a run."
  }

  private static func quoted(_ path: String) -> String { path.isEmpty ? "''" : path }
}
