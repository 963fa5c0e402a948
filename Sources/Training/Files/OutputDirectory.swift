import Foundation

/// A run's directory: `config.yaml`, `metrics.jsonl`, `train/`, `eval/`, `checkpoints/`.
public struct OutputDirectory: Sendable {
  /// The directory's path.
  public let path: String

  private let lease: RunLease

  /// Creates the directory and its subdirectories, and holds its lease for the lifetime of this value.
  ///
  /// - Parameters:
  ///   - path: The directory's path.
  ///   - lease: The directory's lease. If `nil`, it is taken.
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if one cannot be created or written to, or another run has the
  ///   lease.
  public init(creating path: String, lease: RunLease? = nil) throws {
    self.path = path
    for name in ["", "train", "eval", "checkpoints"] {
      let directory = name.isEmpty ? path : "\(path)/\(name)"
      if !FileManager.default.fileExists(atPath: directory) {
        try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        // Otherwise a power failure may lose the directory with all that was written into it.
        try? OutputFile.synchronizeDirectory(URL(fileURLWithPath: directory).deletingLastPathComponent().path)
      }
      var isDirectory: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory)
      guard exists, isDirectory.boolValue, access(directory, W_OK) == 0 else {
        throw CheckpointError(
          .cannotCreate,
          "the output directory \(directory) cannot be written; give another one with --output-dir.")
      }
    }
    self.lease = try lease ?? RunLease(path)
  }

  /// Verifies that no other run has taken the directory over, as it may if this process was stopped for a long time.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  func requireLease() throws { try lease.requireHeld() }

  /// Removes what a killed run has left in the directory's checkpoints.
  public func recover() { CheckpointDirectory(path("checkpoints")).recover() }

  /// Returns the path of a file or directory inside.
  public func path(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a text file inside, replacing it atomically.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written; an existing file is unchanged then.
  public func write(_ text: String, to name: String) throws {
    let temporary = path(".\(name).tmp")
    do {
      let file = try OutputFile(temporary, .new)
      try Array(text.utf8).withUnsafeBytes { try file.write($0) }
      try file.close()
      try OutputFile.rename(temporary, to: path(name))
    } catch {
      unlink(temporary)
      throw error
    }
  }

  /// Opens a run's newest valid checkpoint.
  ///
  /// - Parameters:
  ///   - path: A run's directory, which need not exist.
  ///   - settingAside: Whether to rename damaged checkpoints; only for the holder of the directory's lease.
  /// - Returns: The checkpoint, `nil` if there is none, and a sentence for each one that was skipped.
  /// - Throws: ``CheckpointError`` if there are checkpoints but none is valid.
  public static func latestCheckpoint(
    in path: String, settingAside: Bool = false
  ) throws -> (checkpoint: Checkpoint?, warnings: [String]) {
    try CheckpointDirectory("\(path)/checkpoints").latest(settingAside: settingAside)
  }

  /// Returns whether a directory holds files of a run.
  public static func holdsRun(_ path: String) -> Bool {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/checkpoints")) ?? []
    return files.contains { $0.hasPrefix("step-") }
      || FileManager.default.fileExists(atPath: "\(path)/metrics.jsonl")
  }
}
