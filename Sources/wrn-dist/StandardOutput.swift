@preconcurrency import Glibc

/// What `print` writes to.
enum StandardOutput {
  /// Writes what is still held back and tells whether a report did not get where it should.
  ///
  /// - Returns: The reason; nil if all is well.
  static func failure() -> String? {
    fflush(stdout) == 0 && ferror(stdout) == 0 ? nil : String(cString: strerror(errno))
  }
}
