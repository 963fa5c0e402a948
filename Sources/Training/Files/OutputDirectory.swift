import Foundation

/// A run's folder: `config.yaml`, `metrics.jsonl`, `train/`, `eval/`, `checkpoints/`.
public struct OutputDirectory: Sendable {
  /// The folder's path.
  public let path: String

  private let lock: DirectoryLock

  /// Makes the folder and those inside it, and keeps other runs out of it as long as this value lives.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if one cannot be made or written to, or another run writes there.
  public init(creating path: String) throws {
    self.path = path
    for folder in ["", "train", "eval", "checkpoints"] {
      let folder = folder.isEmpty ? path : "\(path)/\(folder)"
      try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      var isDirectory: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: folder, isDirectory: &isDirectory)
      guard exists, isDirectory.boolValue, access(folder, W_OK) == 0 else {
        throw CheckpointError(
          .cannotCreate,
          "the output folder \(folder) cannot be written; give another one with --output-dir.")
      }
    }
    lock = try DirectoryLock(path)
  }

  /// The path of a file or folder inside.
  public func path(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a text file inside, replacing it in one step.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public func write(_ text: String, to name: String) throws {
    let temporary = path(".\(name).tmp")
    let file = try OutputFile(temporary)
    try Array(text.utf8).withUnsafeBytes { try file.write($0) }
    try file.close()
    try OutputFile.rename(temporary, to: path(name))
  }

  /// Finds the run's newest whole checkpoint.
  ///
  /// - Parameter path: A run's folder, which need not exist.
  /// - Returns: The checkpoint if there is one, and a sentence for each that had to be passed over.
  /// - Throws: ``CheckpointError`` if there are checkpoints but none is whole.
  public static func latestCheckpoint(
    in path: String
  ) throws -> (checkpoint: Checkpoint?, warnings: [String]) {
    try CheckpointDirectory("\(path)/checkpoints").latest()
  }

  /// Tells whether a folder holds something of a run.
  public static func holdsRun(_ path: String) -> Bool {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: "\(path)/checkpoints")) ?? []
    return files.contains { $0.hasPrefix("step-") }
      || FileManager.default.fileExists(atPath: "\(path)/metrics.jsonl")
  }
}

/// Keeps two runs from writing to one folder: the lock of the folder itself, which the system releases with the process.
final class DirectoryLock: Sendable {
  private let descriptor: Int32

  /// Takes the lock.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if another process has it. Where a file system has no locks there is none.
  init(_ path: String) throws {
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK else { return }
    throw CheckpointError(
      .cannotCreate, "another run writes to the output folder \(path); wait for its end or give another --output-dir.")
  }

  deinit { if descriptor >= 0 { close(descriptor) } }
}
