import Collectives
import Foundation
import Glibc
import OpenMPI

/// One rank of the jobs that the tests start with `mpirun`; the first argument names what it does.
///
/// It prints what the tests compare, one line at a time, and exits with the error's code where a
/// scenario throws.
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
      } catch let verdict as StartupConsensus.FirstFailure {
        if communicator.rank == 0 {
          report("[rank \(verdict.rank) of \(communicator.worldSize)] \(verdict.failure.message)")
        }
        try MPIEnvironment.finalize()
        exit(verdict.failure.exitCode)
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
    case "place": printPlace(communicator)
    case "exchanges": try checkExchanges(communicator)
    case "messages": try checkMessages(communicator)
    case "large-broadcast": try checkLargeBroadcast(communicator)
    case "too-large": try exchangeTooMuch(communicator)
    case "tree": try printTreeReduction(communicator)
    case "agreement": try agree(communicator, failingRanks: value)
    case "unequal": try broadcastUnequally(communicator)
    case "fault": try fail(communicator, how: value)
    case "placements": try printPlacements(communicator)
    case "allocations": try countAllocations(communicator)
    case "training-allocations": try countTrainingAllocations(ranks: Int(value) ?? 1)
    case "flood": flood(communicator)
    default:
      report("rank-worker does not know the scenario \(arguments)")
      exit(64)
    }
  }

  /// Writes a whole line at once, so that lines of several ranks do not mix.
  static func line(_ text: String) { write(1, text + "\n", text.utf8.count + 1) }

  /// Writes a whole line to standard error.
  static func report(_ text: String) { write(2, text + "\n", text.utf8.count + 1) }
}

extension StartupConsensus.FirstFailure: Error {}
