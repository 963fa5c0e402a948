import Datasets
import Foundation
import Glibc

/// The handler of SIGBUS: names the data file that was truncated while it was mapped, and ends the process.
enum MappedFileFault {
  // Set before the handler is installed, and never freed.
  private nonisolated(unsafe) static var prefix: UnsafeMutablePointer<CChar>?

  /// Installs the handler.
  ///
  /// - Parameter prefix: The start of the message, such as `wrn-dist: error: `.
  static func install(prefix: String) {
    self.prefix = strdup(prefix)
    // Creates the table outside of the handler.
    _ = MappedRegions.path(containing: nil)
    var action = sigaction()
    action.__sigaction_handler.sa_sigaction = { number, information, _ in
      MappedFileFault.handle(number, address: information?.pointee._sifields._sigfault.si_addr)
    }
    sigemptyset(&action.sa_mask)
    action.sa_flags = SA_SIGINFO
    sigaction(SIGBUS, &action, nil)
  }

  /// Calls only functions that are allowed in a signal handler.
  private static func handle(_ number: Int32, address: UnsafeMutableRawPointer?) {
    guard let path = MappedRegions.path(containing: address) else {
      // The instruction is repeated, and the default action ends the process.
      signal(number, SIG_DFL)
      return
    }
    if let prefix { write(STDERR_FILENO, prefix, strlen(prefix)) }
    write(STDERR_FILENO, path, strlen(path))
    let reason: StaticString =
      " was truncated or its disk failed while it was read; fetch it again, and do not change it during a run.\n"
    write(STDERR_FILENO, reason.utf8Start, reason.utf8CodeUnitCount)
    _exit(65)
  }
}
