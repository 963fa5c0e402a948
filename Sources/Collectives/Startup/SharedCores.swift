/// What ranks do if their host has fewer cores than ranks; it affects speed alone.
///
/// The fixed reduction tree makes results independent of the number of ranks, so fewer of them may compute.
public enum SharedCores: String, Sendable, Codable, CaseIterable {
  /// One rank per core computes, and the others wait for the end of the command.
  case join
  /// All ranks compute, in turns on a core.
  case compute
}

extension RankPlacement {
  /// Returns which ranks compute under ``SharedCores/join``.
  ///
  /// In rank order each rank takes the first of its cores that no other rank of its host has taken. A rank that finds none
  /// waits. So all ranks of a host with enough cores compute, and rank 0 always does. Every rank computes the same table.
  ///
  /// - Parameters:
  ///   - placements: The placements of all ranks, in rank order.
  ///   - hostOfRank: The host of every rank, as in ``Communicator/hostOfRank``.
  /// - Returns: One value per rank.
  public static func computingRanks(_ placements: [RankPlacement], hostOfRank: [Int]) -> [Bool] {
    var taken = Array(repeating: CPUSet([]), count: (hostOfRank.max() ?? 0) + 1)
    return zip(placements, hostOfRank).map { placement, host in
      guard let core = placement.cores.firstCore(notIn: taken[host]) else { return false }
      taken[host].insert(core)
      return true
    }
  }
}

extension CPUSet {
  /// Returns the lowest core of this set that another set of the same host lacks, if there is one.
  func firstCore(notIn other: CPUSet) -> Int? {
    for (index, word) in words.enumerated() {
      let free = word & ~(index < other.words.count ? other.words[index] : 0)
      if free != 0 { return 64 * index + free.trailingZeroBitCount }
    }
    return nil
  }
}
