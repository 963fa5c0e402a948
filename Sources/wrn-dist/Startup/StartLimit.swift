import Collectives
import Foundation
import OpenMPI
import Support
import Synchronization

/// The limit of the time from the start of a rank to that of its watchdog, during which MPI waits for all ranks.
///
/// A rank that is stopped then, or a host that is lost, would hang the job, because `MPI_Init` has no limit.
final class StartLimit: Sendable {
  private let isReached = Atomic<Bool>(false)

  /// Starts a thread that ends the process with exit code 69 after the limit; `mpirun` then ends the other ranks.
  ///
  /// Rank 0 reports first. The others follow 5 s later, one a second, if rank 0 itself does not: `mpirun` takes more than a
  /// second to end them, because `SIGTERM` is a stop request for them.
  ///
  /// - Parameter seconds: The limit; 0 for none.
  /// - Throws: `SystemThread.StartError` if the thread cannot be started.
  init(seconds: Int) throws {
    let environment = LaunchEnvironment(ProcessInfo.processInfo.environment)
    guard seconds > 0, environment.isLaunchedByMPI else { return }
    let rank = environment.rank ?? 0
    let host = CPUAffinity.current().hostName
    let delay = rank == 0 ? 0 : 4 + min(rank, 20)
    try SystemThread.start("wrn-start", stackSize: 512 << 10) { [weak self] in
      for _ in 0..<10 * (seconds + delay) {
        usleep(100_000)
        guard let self, !self.isReached.load(ordering: .relaxed) else { return }
      }
      StandardError.write(
        "[rank \(rank) on \(host)] error: not all ranks have started after \(seconds) s (--stall-timeout), so a rank is "
          + "stopped or a host is lost; start again, and without that host if it happens again.")
      _exit(ExitCodes.peerFailure)
    }
  }

  /// Ends the limit: the watchdogs of all ranks are connected.
  func reach() { isReached.store(true, ordering: .relaxed) }

  deinit { reach() }
}
