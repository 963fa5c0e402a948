// A separate file, because `stdout` is a mutable global of C. Swift allows its use only if `@preconcurrency import Glibc` is
// the file's only import of it; Foundation would be another.
@preconcurrency import Glibc

/// The stream that `print` writes to.
enum StandardOutput {
  /// Flushes standard output.
  ///
  /// - Returns: The system's reason if some output could not be written, else `nil`.
  static func flushError() -> String? {
    fflush(stdout) == 0 && ferror(stdout) == 0 ? nil : String(cString: strerror(errno))
  }
}
