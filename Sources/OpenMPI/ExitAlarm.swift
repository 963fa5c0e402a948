import Glibc
import Synchronization

/// An alarm that ends this process if MPI does not return while the job ends, for example because another rank is stopped.
///
/// `mpirun` then ends the other ranks.
enum ExitAlarm {
  private static let exitCode = Atomic<Int32>(69)

  /// Starts the alarm.
  ///
  /// - Parameters:
  ///   - seconds: The time until it ends the process.
  ///   - exitCode: The exit code of the process.
  static func start(seconds: UInt32, exitCode: Int32) {
    self.exitCode.store(exitCode, ordering: .relaxed)
    signal(SIGALRM) { _ in
      let message: StaticString = "MPI does not return while the job ends; this process ends without it.\n"
      write(STDERR_FILENO, message.utf8Start, message.utf8CodeUnitCount)
      _exit(ExitAlarm.exitCode.load(ordering: .relaxed))
    }
    alarm(seconds)
  }

  /// Stops the alarm.
  static func stop() { alarm(0) }
}
