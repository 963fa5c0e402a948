import Foundation

/// The image files that a user names: single files, directories, and standard input.
public enum ImageFiles {
  /// The name that means standard input.
  public static let standardInput = "-"

  private static let extensions: Set = ["png", "jpg", "jpeg"]

  /// Replaces every directory by the PNG and JPEG files in it and in its subdirectories.
  ///
  /// Within a directory the order is that of the names. Files are recognized by their extension. Hidden files and
  /// symbolic links to directories within a directory are skipped.
  ///
  /// - Parameter paths: Files, directories or ``standardInput``.
  /// - Returns: A file per element, or the error of a directory that cannot be read or has no images.
  public static func expand(_ paths: [String]) -> [Result<String, ImageError>] {
    paths.flatMap { path -> [Result<String, ImageError>] in
      var isDirectory: ObjCBool = false
      guard path != standardInput, FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory),
        isDirectory.boolValue
      else { return [.success(path)] }
      let files = contents(path)
      return files.isEmpty
        ? [.failure(ImageError("\(path) has no .png, .jpg or .jpeg files; give files or another directory."))] : files
    }
  }

  private static func contents(_ directory: String) -> [Result<String, ImageError>] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
      return [.failure(ImageError("the directory \(directory) cannot be read; check its permissions."))]
    }
    return names.filter { !$0.hasPrefix(".") }.sorted().flatMap { name -> [Result<String, ImageError>] in
      let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
      let type = (try? FileManager.default.attributesOfItem(atPath: path))?[.type] as? FileAttributeType
      if type == .typeDirectory { return contents(path) }
      return extensions.contains((name as NSString).pathExtension.lowercased()) ? [.success(path)] : []
    }
  }

  /// Reads a whole file.
  ///
  /// - Parameter path: A file, or ``standardInput``.
  /// - Returns: Its bytes.
  /// - Throws: ``ImageError`` if it cannot be read, is not a regular file, or exceeds
  ///   ``ImageDecoder/maximumByteCount``.
  public static func read(_ path: String) throws -> [UInt8] {
    let name = displayName(path)
    if path == standardInput { return try read(STDIN_FILENO, name, expectedByteCount: 0) }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw unreadable(name) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw unreadable(name) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw ImageError("\(name) is not a regular file; give a PNG or JPEG file, or - for standard input.")
    }
    return try read(descriptor, name, expectedByteCount: Int(status.st_size))
  }

  /// The name of a file in reports.
  public static func displayName(_ path: String) -> String { path == standardInput ? "standard input" : path }

  private static func read(_ descriptor: Int32, _ name: String, expectedByteCount: Int) throws -> [UInt8] {
    let limit = ImageDecoder.maximumByteCount
    func requireSize(_ count: Int) throws {
      if count > limit {
        throw ImageError("\(name) is larger than the limit of \(limit >> 20) MiB; give a smaller file.")
      }
    }
    try requireSize(expectedByteCount)
    var bytes: [UInt8] = []
    // One byte more shows the end of the file.
    var chunkSize = max(expectedByteCount + 1, 1 << 12)
    while true {
      var count = 0
      bytes += [UInt8](unsafeUninitializedCapacity: chunkSize) { buffer, initializedCount in
        repeat { count = Foundation.read(descriptor, buffer.baseAddress, chunkSize) } while count < 0 && errno == EINTR
        initializedCount = max(count, 0)
      }
      if count < 0 { throw unreadable(name) }
      if count == 0 { return bytes }
      try requireSize(bytes.count)
      chunkSize = 1 << 16
    }
  }

  private static func unreadable(_ name: String) -> ImageError {
    ImageError("\(name) cannot be read (\(String(cString: strerror(errno)))); check the path and its permissions.")
  }
}
