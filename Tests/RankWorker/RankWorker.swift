import Collectives
import Foundation
import Glibc
import OpenMPI

/// One rank of the jobs that the tests start with `mpirun`; the first argument names the scenario.
///
/// It prints the lines that the tests compare. If a scenario throws, it exits with the error's code.
@main
struct RankWorker {
  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    do {
      guard MPIEnvironment.isLaunchedByMPI else {
        try run(arguments, SingleProcessCommunicator())
        return
      }
      let communicator = try MPIEnvironment.initialize(
        progress: arguments.contains("thread") ? .thread : .poll)
      do {
        try run(arguments, communicator)
        try MPIEnvironment.finalize()
      } catch let first as StartupConsensus.FirstFailure {
        if communicator.rank == 0 {
          report("[rank \(first.rank) of \(communicator.worldSize)] \(first.failure.message)")
        }
        try MPIEnvironment.finalize()
        exit(first.failure.exitCode)
      } catch {
        report("[rank \(communicator.rank) of \(communicator.worldSize)] \(error)")
        communicator.abort(exitCode: 69)
      }
    } catch {
      report("\(error)")
      exit(69)
    }
  }

  private static func run(_ arguments: [String], _ communicator: any Communicator) throws {
    let value = arguments.count > 1 ? arguments[1] : ""
    switch arguments.first {
    case "rank": printRank(communicator)
    case "collectives": try checkCollectives(communicator)
    case "messages": try checkMessages(communicator)
    case "priorities": try checkPriorities(communicator)
    case "large-broadcast": try checkLargeBroadcast(communicator)
    case "too-large": try gatherTooMuch(communicator)
    case "bad-message": try sendBadMessage(communicator, how: value, isPolled: arguments.contains("polled"))
    case "tree": try printTreeReduction(communicator)
    case "consensus": try reachConsensus(communicator, failingRanks: value)
    case "unequal": try broadcastUnequally(communicator)
    case "fault": try fail(communicator, how: value)
    case "placements": try printPlacements(communicator)
    case "allocations": try countAllocations(communicator)
    case "training-allocations": try countTrainingAllocations(ranks: Int(value) ?? 1)
    case "loading-allocations": try countLoadingAllocations()
    case "flood": flood(communicator)
    default:
      report("rank-worker does not know the scenario \(arguments)")
      exit(64)
    }
  }

  /// Writes a whole line with one call, so that short output of several ranks does not interleave.
  static func line(_ text: String) { write(1, text + "\n", text.utf8.count + 1) }

  /// Writes a whole line to standard error with one call.
  static func report(_ text: String) { write(2, text + "\n", text.utf8.count + 1) }
}

extension StartupConsensus.FirstFailure: Error {}
