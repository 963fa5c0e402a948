import Foundation
import Training

/// The signals that request a stop after the current step: SIGINT (Ctrl-C), SIGTERM, SIGUSR1.
enum StopSignals {
  private static let stop = StopRequest()

  /// Installs the handlers and returns the stop request that they set.
  ///
  /// Each signal is handled once. A second Ctrl-C ends the process at once, which cannot damage a checkpoint: it is written
  /// under another name and renamed.
  static func install() -> StopRequest {
    let request = stop
    for number in [SIGINT, SIGTERM, SIGUSR1] {
      signal(number) { received in
        signal(received, SIG_DFL)
        StopSignals.stop.request()
      }
    }
    // If the reader of standard output exits, writing fails with an error; the signal would end the process without one.
    signal(SIGPIPE, SIG_IGN)
    // The same for a file larger than the limit.
    signal(SIGXFSZ, SIG_IGN)
    return request
  }
}
