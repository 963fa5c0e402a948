import Collectives
import OpenMPI

/// How many worker threads a rank may and should run.
struct Threads {
  private let rank: Int
  private let binding = CoreBinding.current()
  private let placements: [RankPlacement]

  /// Asks all ranks where they run.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: `CommunicationError` if the exchange fails.
  init(_ communicator: any Communicator) throws {
    rank = communicator.rank
    placements = try RankPlacement.gather(binding.placement, communicator: communicator)
  }

  /// Returns what was asked for, or the cores that this rank may use divided by the ranks that share them.
  ///
  /// - Parameter asked: `--threads`, if given.
  /// - Returns: At least 1.
  /// - Throws: `StartupFailure` if the rank is bound to fewer cores than the threads asked for.
  func count(asked: Int?) throws -> Int {
    guard let asked else {
      return RankPlacement.defaultThreadCount(rank: rank, placements: placements)
    }
    guard asked >= 1 else { throw UsageError("--threads \(asked) must be at least 1.") }
    let problem = PinnedRank.problem(
      rank: rank, threadCount: asked, usableCoreCount: binding.usableCores.count,
      onlineCoreCount: binding.onlineCoreCount)
    if let problem { throw StartupFailure(exitCode: ExitCodes.usage, message: problem) }
    return asked
  }
}
