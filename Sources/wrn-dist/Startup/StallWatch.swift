import Clusters
import Collectives
import Foundation
import OpenMPI
import Training

/// The watchdog of a training run: reports ranks that are awaited in vain, and ends the job.
enum StallWatch {
  /// Starts the watchdogs of all ranks.
  ///
  /// Collective. Blocks until they are connected. After the limit a watchdog prints the report and ends its process with exit
  /// code 69, without MPI, which could hang as well; `mpirun` then ends the other ranks, also stopped ones.
  ///
  /// - Parameters:
  ///   - configuration: The run's settings, equal on all ranks.
  ///   - communicator: The ranks.
  /// - Returns: The watchdog, which the caller keeps and stops; `nil` for one rank or without a limit.
  /// - Throws: `CommunicationError` if communication fails, `SystemThread.StartError` if a thread cannot be started.
  static func start(_ configuration: TrainingConfiguration, _ communicator: any Communicator) throws -> Watchdog? {
    guard configuration.stallTimeout > 0, communicator.worldSize > 1 else { return nil }
    let (rank, worldSize) = (communicator.rank, communicator.worldSize)
    let host = CPUAffinity.current().hostName
    let limit = configuration.stallTimeout
    let parameters = try configuration.modelGraph().parameterLayout.parameters
    let interfaces = NetworkInterface.current().filter { !$0.isLoopback && !$0.isVirtualBridge }
    let (watchdog, unconnected) = try Watchdog.start(
      limitSeconds: Double(limit), host: host, addresses: interfaces.map(\.address.bits),
      parameterNames: parameters.map { ($0.range.lowerBound, $0.name) }, communicator: communicator
    ) { report in
      switch report {
      case .warning(let text): StandardError.write("warning: \(text); the job ends after \(limit) s (--stall-timeout).")
      case .stalled(let text):
        // Rank 0's report is about all ranks.
        let prefix = rank == 0 ? "wrn-dist: error: " : "[rank \(rank) of \(worldSize) on \(host)] error: "
        StandardError.write(
          "\(prefix)\(text); start again to resume from the last checkpoint, and without that host if it happens again."
        )
        _exit(ExitCodes.peerFailure)
      }
    }
    if rank == 0, !unconnected.isEmpty {
      let ranks = unconnected.map(String.init).joined(separator: ", ")
      StandardError.write(
        "warning: rank \(ranks) cannot reach rank 0 over TCP outside of MPI, so --stall-timeout would not name it.")
    }
    return watchdog
  }
}
