import Glibc

/// A memory-mapped file, of which only the pages that are read are loaded.
final class MappedFile: @unchecked Sendable {
  /// The path of the file.
  let path: String
  /// The content of the file.
  let bytes: UnsafeRawBufferPointer

  /// Maps a file.
  ///
  /// - Throws: ``DatasetError`` if the file cannot be read.
  init(_ path: String) throws {
    self.path = path
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
    if let start = bytes.baseAddress {
      MappedRegions.remove(bytes)
      munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    }
  }
}
