import Glibc

/// A memory-mapped file, of which only the pages that are read are loaded.
package final class MappedFile: @unchecked Sendable {
  /// The path of the file.
  let path: String
  /// The content of the file.
  let bytes: UnsafeRawBufferPointer
  private let isMapped: Bool

  /// Creates a file from its contents in memory.
  ///
  /// - Parameters:
  ///   - bytes: The contents. The caller must keep them until the file and all that use it are gone.
  ///   - path: The file in messages.
  package init(borrowing bytes: UnsafeRawBufferPointer, path: String) {
    self.bytes = bytes
    self.path = path
    isMapped = false
  }

  /// Maps a file.
  ///
  /// - Throws: ``DatasetError`` if the file cannot be read.
  init(_ path: String) throws {
    self.path = path
    isMapped = true
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    defer { if descriptor >= 0 { close(descriptor) } }
    var information = stat()
    guard descriptor >= 0, fstat(descriptor, &information) == 0 else {
      throw DatasetError("\(path) cannot be read: \(String(cString: strerror(errno))).")
    }
    let count = Int(information.st_size)
    guard count > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED
    else {
      throw DatasetError("\(path) cannot be mapped: \(String(cString: strerror(errno))).")
    }
    bytes = UnsafeRawBufferPointer(start: start, count: count)
    MappedRegions.add(bytes, path: path)
  }

  deinit {
    if isMapped, let start = bytes.baseAddress {
      MappedRegions.remove(bytes)
      munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    }
  }
}
