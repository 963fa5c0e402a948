import Foundation
import Glibc
import Synchronization

/// The signals that stop a sweep: SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGUSR1.
enum SweepSignals {
  private static let requested = Atomic<Bool>(false)
  private static let interruptions = Atomic<Int>(0)

  /// Whether a stop was requested: runs in progress write a checkpoint, and no other run starts.
  static var isStopRequested: Bool { requested.load(ordering: .relaxed) }

  /// Whether a second SIGINT, SIGTERM or SIGHUP requests to end all runs at once.
  static var isEndRequested: Bool { interruptions.load(ordering: .relaxed) > 1 }

  /// Installs the handlers.
  ///
  /// SIGUSR1 never ends runs at once, because batch systems repeat it.
  static func install() {
    for number in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { received in
        SweepSignals.requested.store(true, ordering: .relaxed)
        if received != SIGUSR1 { SweepSignals.interruptions.wrappingAdd(1, ordering: .relaxed) }
      }
      sigemptyset(&action.sa_mask)
      action.sa_flags = SA_RESTART
      sigaction(number, &action, nil)
    }
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
  }
}
