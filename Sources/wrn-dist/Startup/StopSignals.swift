import Foundation
import Glibc
import Synchronization
import Training

/// The signals that request a stop after the current step: SIGINT (Ctrl-C), SIGTERM, SIGUSR1.
enum StopSignals {
  private static let stop = StopRequest()
  /// Whether an interactive signal, SIGINT or SIGTERM, has been received.
  private static let wasInterrupted = Atomic<Bool>(false)

  /// Installs the handlers and returns the stop request that they set.
  ///
  /// SIGUSR1 requests a stop however often it arrives, because batch systems send it to every process of a job and repeat
  /// it. The second SIGINT or SIGTERM ends the process at once, which cannot damage a checkpoint: it is written under
  /// another name and renamed.
  static func install() -> StopRequest {
    let request = stop
    handle(SIGUSR1) { _ in StopSignals.stop.request() }
    for number in [SIGINT, SIGTERM] {
      handle(number) { received in
        StopSignals.stop.request()
        guard StopSignals.wasInterrupted.exchange(true, ordering: .relaxed) else { return }
        signal(received, SIG_DFL)
        // The signal is blocked until this handler returns; then its default action ends the process.
        kill(getpid(), received)
      }
    }
    // If the reader of standard output exits, writing fails with an error; the signal would end the process without one.
    signal(SIGPIPE, SIG_IGN)
    // The same for a file larger than the limit.
    signal(SIGXFSZ, SIG_IGN)
    return request
  }

  /// Installs a handler that stays installed, and lets interrupted system calls resume.
  static func handle(_ number: Int32, _ handler: @escaping @convention(c) (Int32) -> Void) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = handler
    sigemptyset(&action.sa_mask)
    action.sa_flags = SA_RESTART
    sigaction(number, &action, nil)
  }
}
