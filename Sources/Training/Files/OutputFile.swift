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
    // Devices and pipes have no fsync and say EINVAL.
    let failed = fsync(descriptor) != 0 && errno != EINVAL
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
  /// Finds out where to write a file that a user has named, until it is whole and ``finish(_:at:)`` puts it in its place.
  ///
  /// - Parameter path: The file; what is there already is replaced, but a device or a pipe is written to as it is.
  /// - Returns: A name beside it, or the path itself.
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if nothing can be written there.
  static func temporaryPath(for path: String) throws -> String {
    var status = stat()
    if stat(path, &status) == 0 {
      switch status.st_mode & S_IFMT {
      case S_IFREG: break
      case S_IFDIR: throw CheckpointError(.cannotCreate, "\(path) is a folder; give the name of a file.")
      default: return path
      }
    }
    let folder = (path as NSString).deletingLastPathComponent
    var isDirectory: ObjCBool = false
    guard !path.isEmpty, !path.hasSuffix("/") else {
      throw CheckpointError(.cannotCreate, "'\(path)' names no file that could be written; give the name of a file.")
    }
    guard
      folder.isEmpty
        || FileManager.default.fileExists(atPath: folder, isDirectory: &isDirectory) && isDirectory.boolValue
    else {
      throw CheckpointError(
        .cannotCreate, "\(path) cannot be created: there is no folder \(folder); make it or give another path.")
    }
    return path + ".tmp"
  }

  /// Puts a whole file in its place, in one step.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  static func finish(_ temporary: String, at path: String) throws {
    if temporary != path { try rename(temporary, to: path) }
  }

  /// Writes a text file, replacing what is there in one step.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public static func replace(_ path: String, with text: String) throws {
    let temporary = try temporaryPath(for: path)
    let file = try OutputFile(temporary)
    try Array(text.utf8).withUnsafeBytes { try file.write($0) }
    try file.close()
    try finish(temporary, at: path)
  }
}
