import Collectives
import Foundation
import OpenMPI

extension RankWorker {
  /// Lets the named ranks ("1,2") fail their start, rank r with exit code 64 + r.
  static func agree(_ communicator: any Communicator, failingRanks: String) throws {
    let failing = failingRanks.split(separator: ",").compactMap { Int($0) }
    let failure =
      failing.contains(communicator.rank)
      ? StartupFailure(
        exitCode: Int32(64 + communicator.rank),
        message: "The data of rank \(communicator.rank) are missing: run launch/fetch-cifar10.")
      : nil
    if let verdict = try StartupConsensus.agree(on: failure, communicator: communicator) {
      throw verdict
    }
    line("rank \(communicator.rank) starts")
  }

  /// Prints what the ranks learn about each other's cores.
  static func printPlacements(_ communicator: any Communicator) throws {
    let binding = CPUAffinity.current()
    let placements = try RankPlacement.gather(binding.placement, communicator: communicator)
    let own = placements[communicator.rank] == binding.placement ? "itself" : "someone else"
    let hosts = Set(placements.map(\.hostHash)).count
    let threads = RankPlacement.defaultThreadCount(
      rank: communicator.rank, placements: placements)
    line(
      "rank \(communicator.rank) sees \(own), \(placements.count) ranks on \(hosts) host; "
        + "usable \(binding.usableCores.count) of \(binding.onlineCoreCount), threads \(threads)")
  }

  /// Writes more than any pipe holds, on both streams.
  static func flood(_ communicator: any Communicator) {
    let text = String(repeating: "x", count: 99)
    for number in 0..<5_000 {
      line("\(communicator.rank) \(number) \(text)")
      report("\(communicator.rank) \(number) \(text)")
    }
  }
}
