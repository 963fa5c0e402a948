/// What ranks do if their host has fewer cores than ranks; it affects speed alone.
///
/// The fixed reduction tree makes results independent of the number of ranks, so fewer of them may compute.
public enum SharedCores: String, Sendable, Codable, CaseIterable {
  /// One rank per core computes, and the others wait for the end of the command.
  case join
  /// All ranks compute, several on one core.
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
    var taken = [Set<Int>](repeating: [], count: (hostOfRank.max() ?? 0) + 1)
    return zip(placements, hostOfRank).map { placement, host in
      guard let core = placement.cores.cores.first(where: { !taken[host].contains($0) }) else { return false }
      taken[host].insert(core)
      return true
    }
  }
}
