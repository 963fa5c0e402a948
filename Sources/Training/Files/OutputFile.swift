import Foundation

/// A file being written, with every error reported; after ``close()`` the bytes are on the disk.
public final class OutputFile {
  /// The file's path.
  let path: String
  private var descriptor: Int32

  /// How a file is opened.
  package enum Mode {
    /// A file that must not exist: one that is left over is removed, and a symbolic link is never followed.
    ///
    /// It is for temporary files, whose names others may guess.
    case new
    /// A new file, or an existing file, device or pipe, whose contents are replaced.
    case replacing
    /// A new or existing file, at whose end is written.
    case appending
  }

  /// Opens the file.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  init(_ path: String, _ mode: Mode) throws {
    self.path = path
    let flags: Int32
    switch mode {
    case .new:
      unlink(path)
      flags = O_EXCL | O_NOFOLLOW
    case .replacing: flags = O_TRUNC
    case .appending: flags = O_APPEND
    }
    descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0o644)
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
    try write(bytes, done: &done)
  }

  /// Writes all bytes but the first `done`, and counts those that were written, also if not all could be.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`, for example when the disk is full.
  func write(_ bytes: UnsafeRawBufferPointer, done: inout Int) throws {
    while done < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        throw CheckpointError(.inputOutput, "writing \(path) failed: \(Self.reason).")
      }
      done += count
    }
  }

  /// Waits until the bytes written so far are on the disk.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  func synchronize() throws {
    if fsync(descriptor) != 0 && errno != EINVAL {
      throw CheckpointError(.inputOutput, "writing \(path) failed: \(Self.reason).")
    }
  }

  /// Waits until the bytes are on the disk, and closes the file.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  func close() throws {
    // Devices and pipes do not support fsync: EINVAL.
    let failed = fsync(descriptor) != 0 && errno != EINVAL
    let reason = Self.reason
    Glibc.close(descriptor)
    descriptor = -1
    if failed { throw CheckpointError(.inputOutput, "writing \(path) failed: \(reason).") }
  }

  /// Waits until a directory's entries are on the disk.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  static func synchronizeDirectory(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { if descriptor >= 0 { Glibc.close(descriptor) } }
    // Some network file systems do not support fsync for directories: EINVAL.
    if descriptor < 0 || (fsync(descriptor) != 0 && errno != EINVAL) {
      throw CheckpointError(.inputOutput, "writing the directory \(path) failed: \(reason).")
    }
  }

  /// Renames `source` to `target`, replacing it atomically.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  static func rename(_ source: String, to target: String) throws {
    if Glibc.rename(source, target) != 0 {
      throw CheckpointError(.inputOutput, "renaming \(source) to \(target) failed: \(reason).")
    }
  }

  /// The description of the last system error.
  static var reason: String { String(cString: strerror(errno)) }
}

extension OutputFile {
  /// Returns the path to which to write a file that a user has named, until it is complete; ``publish(_:at:)`` follows.
  ///
  /// - Parameter path: The file. An existing file is replaced, but a device or a pipe is written to directly.
  /// - Returns: A path in the same directory, or the path itself.
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if the file cannot be written.
  static func temporaryPath(for path: String) throws -> String {
    var status = stat()
    if stat(path, &status) == 0 {
      switch status.st_mode & S_IFMT {
      case S_IFREG: break
      case S_IFDIR: throw CheckpointError(.cannotCreate, "\(path) is a directory; give the name of a file.")
      default: return path
      }
    }
    let directory = (path as NSString).deletingLastPathComponent
    var isDirectory: ObjCBool = false
    guard !path.isEmpty, !path.hasSuffix("/") else {
      throw CheckpointError(.cannotCreate, "'\(path)' is not the name of a file; give the name of a file.")
    }
    guard
      directory.isEmpty
        || FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory) && isDirectory.boolValue
    else {
      throw CheckpointError(
        .cannotCreate, "\(path) cannot be created: there is no directory \(directory); create it or give another path.")
    }
    return path + ".tmp"
  }

  /// How to open a result of ``temporaryPath(for:)``: a device or a pipe is not removed.
  static func mode(_ temporary: String, for path: String) -> Mode { temporary == path ? .replacing : .new }

  /// Renames a complete file to its final path, atomically.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  static func publish(_ temporary: String, at path: String) throws {
    if temporary != path { try rename(temporary, to: path) }
  }

  /// Verifies that a file can be written, before work whose result it is to hold.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  public static func check(_ path: String) throws {
    let temporary = try temporaryPath(for: path)
    _ = try OutputFile(temporary, mode(temporary, for: path))
    if temporary != path { unlink(temporary) }
  }

  /// Writes a text file, replacing an existing one atomically.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public static func replace(_ path: String, with text: String) throws {
    try replace(path, with: Array(text.utf8))
  }

  /// Writes a binary file, replacing an existing one atomically.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public static func replace(_ path: String, with bytes: [UInt8]) throws {
    let temporary = try temporaryPath(for: path)
    let file = try OutputFile(temporary, mode(temporary, for: path))
    try bytes.withUnsafeBytes { try file.write($0) }
    try file.close()
    try publish(temporary, at: path)
  }
}
