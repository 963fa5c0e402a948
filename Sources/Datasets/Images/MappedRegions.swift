import Glibc
import Synchronization

/// The memory of all mapped data files, which the handler of SIGBUS searches for the file of a faulting address.
///
/// Reading a page of a mapped file beyond the end of a file that was truncated meanwhile raises SIGBUS.
package enum MappedRegions {
  private struct Region {
    var start: UInt = 0
    var end: UInt = 0
    var path: UnsafeMutablePointer<CChar>?
  }

  /// The most files whose names are known; more files work, but are not named.
  private static let capacity = 256
  private static let lock = Mutex<Void>(())
  // Written under the lock. A signal handler reads it without: a thread faults only in a region that was added before.
  private nonisolated(unsafe) static let regions: UnsafeMutablePointer<Region> = {
    let regions = UnsafeMutablePointer<Region>.allocate(capacity: capacity)
    regions.initialize(repeating: Region(), count: capacity)
    return regions
  }()

  /// Adds the memory of a file.
  static func add(_ bytes: UnsafeRawBufferPointer, path: String) {
    guard let base = bytes.baseAddress else { return }
    lock.withLock { _ in
      guard let free = (0..<capacity).first(where: { regions[$0].end == 0 }) else { return }
      let start = UInt(bitPattern: base)
      regions[free] = Region(start: start, end: start + UInt(bytes.count), path: strdup(path))
    }
  }

  /// Removes the memory of a file.
  static func remove(_ bytes: UnsafeRawBufferPointer) {
    let start = UInt(bitPattern: bytes.baseAddress)
    lock.withLock { _ in
      let index = (0..<capacity).first { regions[$0].end != 0 && regions[$0].start == start }
      guard let index else { return }
      free(regions[index].path)
      regions[index] = Region()
    }
  }

  /// Finds the file that is mapped at an address; may be called from a signal handler.
  ///
  /// - Parameter address: The address that could not be read.
  /// - Returns: The file's path, or `nil`.
  package static func path(containing address: UnsafeRawPointer?) -> UnsafePointer<CChar>? {
    let address = UInt(bitPattern: address)
    // The last page of a file extends beyond its end.
    for i in 0..<capacity where regions[i].start <= address && address < regions[i].end + 4096 {
      if let path = regions[i].path { return UnsafePointer(path) }
    }
    return nil
  }
}
