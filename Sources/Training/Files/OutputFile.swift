import Foundation

/// A file being written: every error is reported, and `close` means that the bytes have reached the disk.
public final class OutputFile {
  /// The file's path.
  let path: String
  private var descriptor: Int32

  /// Creates the file, or opens it to append.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  init(_ path: String, appending: Bool = false) throws {
    self.path = path
    let mode = appending ? O_APPEND : O_TRUNC
    descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0o644)
    if descriptor < 0 {
      throw CheckpointError(.cannotCreate, "\(path) cannot be created: \(Self.reason).")
    }
  }

  deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

  /// Writes all bytes.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`, for example when the disk is full.
  func write(_ bytes: UnsafeRawBufferPointer) throws {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        throw CheckpointError(.inputOutput, "writing \(path) failed: \(Self.reason).")
      }
      done += count
    }
  }

  /// Waits until the disk has the bytes, and closes the file.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  func close() throws {
    let failed = fsync(descriptor) != 0
    let reason = Self.reason
    Glibc.close(descriptor)
    descriptor = -1
    if failed { throw CheckpointError(.inputOutput, "writing \(path) failed: \(reason).") }
  }

  /// Waits until the disk has a folder's entries.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  static func synchronizeDirectory(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { if descriptor >= 0 { Glibc.close(descriptor) } }
    // Some network file systems have no fsync for folders and say EINVAL.
    if descriptor < 0 || (fsync(descriptor) != 0 && errno != EINVAL) {
      throw CheckpointError(.inputOutput, "writing the folder \(path) failed: \(reason).")
    }
  }

  /// Replaces `target` by `source` in one step.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  static func rename(_ source: String, to target: String) throws {
    if Glibc.rename(source, target) != 0 {
      throw CheckpointError(.inputOutput, "renaming \(source) to \(target) failed: \(reason).")
    }
  }

  /// The last system error in words.
  static var reason: String { String(cString: strerror(errno)) }
}

extension OutputFile {
  /// Writes a text file, replacing what is there in one step.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public static func replace(_ path: String, with text: String) throws {
    let temporary = path + ".tmp"
    let file = try OutputFile(temporary)
    try Array(text.utf8).withUnsafeBytes { try file.write($0) }
    try file.close()
    try rename(temporary, to: path)
  }
}
