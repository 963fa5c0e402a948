import Foundation

/// A run's directory: `config.yaml`, `metrics.jsonl`, `train/`, `eval/`, `checkpoints/`.
public struct OutputDirectory: Sendable {
  /// The directory's path.
  public let path: String

  private let lock: DirectoryLock

  /// Creates the directory and its subdirectories, and locks it for the lifetime of this value.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if one cannot be created or written to, or another run has the
  ///   lock.
  public init(creating path: String) throws {
    self.path = path
    for name in ["", "train", "eval", "checkpoints"] {
      let directory = name.isEmpty ? path : "\(path)/\(name)"
      try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      var isDirectory: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory)
      guard exists, isDirectory.boolValue, access(directory, W_OK) == 0 else {
        throw CheckpointError(
          .cannotCreate,
          "the output directory \(directory) cannot be written; give another one with --output-dir.")
      }
    }
    lock = try DirectoryLock(path)
  }

  /// Returns the path of a file or directory inside.
  public func path(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a text file inside, replacing it atomically.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public func write(_ text: String, to name: String) throws {
    let temporary = path(".\(name).tmp")
    let file = try OutputFile(temporary)
    try Array(text.utf8).withUnsafeBytes { try file.write($0) }
    try file.close()
    try OutputFile.rename(temporary, to: path(name))
  }

  /// Opens a run's newest valid checkpoint.
  ///
  /// - Parameter path: A run's directory, which need not exist.
  /// - Returns: The checkpoint, `nil` if there is none, and a sentence for each one that was skipped.
  /// - Throws: ``CheckpointError`` if there are checkpoints but none is valid.
  public static func latestCheckpoint(
    in path: String
  ) throws -> (checkpoint: Checkpoint?, warnings: [String]) {
    try CheckpointDirectory("\(path)/checkpoints").latest()
  }

  /// Returns whether a directory holds files of a run.
  public static func holdsRun(_ path: String) -> Bool {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/checkpoints")) ?? []
    return files.contains { $0.hasPrefix("step-") }
      || FileManager.default.fileExists(atPath: "\(path)/metrics.jsonl")
  }
}

/// An exclusive lock (`flock`) on a run's directory, released when the process ends.
private final class DirectoryLock: Sendable {
  private let descriptor: Int32

  /// Takes the lock; on file systems without locks it has no effect.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if another process has it.
  init(_ path: String) throws {
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK else { return }
    throw CheckpointError(
      .cannotCreate,
      "another run writes to the output directory \(path); wait until it ends or give another --output-dir.")
  }

  deinit { if descriptor >= 0 { close(descriptor) } }
}
