import Foundation
import Glibc
import Synchronization

/// The signals that stop a sweep: SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGUSR1.
enum SweepSignals {
  private static let requested = Atomic<Bool>(false)
  private static let interruptions = Atomic<Int>(0)

  /// Whether a stop was requested: runs in progress write a checkpoint, and no other run starts.
  static var isStopRequested: Bool { requested.load(ordering: .relaxed) }

  /// Whether a second SIGINT or SIGTERM requests to end all runs at once.
  static var isEndRequested: Bool { interruptions.load(ordering: .relaxed) > 1 }

  /// Installs the handlers.
  ///
  /// SIGUSR1 never ends runs at once, because batch systems repeat it. Neither does SIGHUP, because a terminal that closes
  /// sends it twice. SIGHUP stays ignored if it is, as after `nohup`.
  static func install() {
    for number in [SIGINT, SIGTERM] {
      StopSignals.handle(number) { _ in
        SweepSignals.requested.store(true, ordering: .relaxed)
        SweepSignals.interruptions.wrappingAdd(1, ordering: .relaxed)
      }
    }
    for number in isIgnored(SIGHUP) ? [SIGUSR1] : [SIGUSR1, SIGHUP] {
      StopSignals.handle(number) { _ in SweepSignals.requested.store(true, ordering: .relaxed) }
    }
    // If it is ignored, the system forgets the exit codes of child processes.
    signal(SIGCHLD, SIG_DFL)
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
  }

  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    sigaction(number, nil, &action)
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
  }
}
