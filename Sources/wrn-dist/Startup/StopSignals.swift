import Foundation
import Training

/// Signals that ask the run to stop after the current step: Ctrl-C, SIGTERM, SIGUSR1.
enum StopSignals {
  private static let stop = StopRequest()

  /// Installs the handlers and returns the request that they make.
  ///
  /// Each signal is caught once: a second Ctrl-C ends the process at once, and no checkpoint is torn, because one is
  /// written under another name first.
  static func install() -> StopRequest {
    let request = stop
    for number in [SIGINT, SIGTERM, SIGUSR1] {
      signal(number) { received in
        signal(received, SIG_DFL)
        StopSignals.stop.request()
      }
    }
    // A reader of our output that goes away is an error of writing, not a reason to die without a word.
    signal(SIGPIPE, SIG_IGN)
    // Likewise a file that grows beyond its limit.
    signal(SIGXFSZ, SIG_IGN)
    return request
  }
}
