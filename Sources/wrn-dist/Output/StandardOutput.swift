// A file of its own: `stdout` is a mutable global of C, which Swift lets a file use only if nothing but
// `@preconcurrency import Glibc` brings it in; Foundation would.
@preconcurrency import Glibc

/// The stream that `print` writes to.
enum StandardOutput {
  /// Flushes standard output.
  ///
  /// - Returns: Why a report did not reach its destination; `nil` if everything was written.
  static func flushError() -> String? {
    fflush(stdout) == 0 && ferror(stdout) == 0 ? nil : String(cString: strerror(errno))
  }
}
