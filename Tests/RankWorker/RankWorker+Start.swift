import Collectives
import Foundation
import OpenMPI

extension RankWorker {
  /// Fails the start of the named ranks ("1,2"), of rank r with exit code 64 + r.
  static func reachConsensus(_ communicator: any Communicator, failingRanks: String) throws {
    let failing = failingRanks.split(separator: ",").compactMap { Int($0) }
    let failure =
      failing.contains(communicator.rank)
      ? StartupFailure(
        exitCode: Int32(64 + communicator.rank),
        message: "The data of rank \(communicator.rank) are missing: run launch/fetch-cifar10.")
      : nil
    if let first = try StartupConsensus.agree(on: failure, communicator: communicator) {
      throw first
    }
    line("rank \(communicator.rank) starts")
  }

  /// Prints the placements that every rank has gathered.
  static func printPlacements(_ communicator: any Communicator) throws {
    let affinity = CPUAffinity.current()
    let placements = try RankPlacement.allGather(affinity.placement, communicator: communicator)
    let own = placements[communicator.rank] == affinity.placement ? "itself" : "someone else"
    let hosts = Set(placements.map(\.hostHash)).count
    let threads = RankPlacement.defaultThreadCount(
      rank: communicator.rank, placements: placements)
    line(
      "rank \(communicator.rank) sees \(own), \(placements.count) ranks on \(hosts) host; "
        + "usable \(affinity.usableCores.count) of \(affinity.onlineCoreCount), threads \(threads)")
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
