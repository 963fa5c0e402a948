import Foundation

/// Keeps two runs from writing to one folder: the lock of the folder itself, which the system releases with the process.
final class FolderLock: Sendable {
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
