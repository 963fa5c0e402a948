/// Where one rank runs: its host and the cores that it may use there.
public struct RankPlacement: Equatable, Sendable {
  /// A 64-bit hash of the host's name (FNV-1a), equal on all ranks of one host.
  public let hostHash: UInt64
  /// The cores that the operating system lets this rank use.
  public let cores: CoreSet

  /// Makes the placement of a rank.
  ///
  /// - Parameters:
  ///   - hostName: The host's name, unique within the job.
  ///   - cores: The cores that the rank may use.
  public init(hostName: String, cores: CoreSet) {
    hostHash = hostName.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    self.cores = cores
  }

  fileprivate init(hostHash: UInt64, cores: CoreSet) {
    self.hostHash = hostHash
    self.cores = cores
  }

  /// Returns how many threads a rank should start if nobody says otherwise.
  ///
  /// Its cores are divided by the ranks of its host whose cores overlap with its own (itself
  /// included): ranks bound to cores of their own use all of them, ranks that share share fairly.
  ///
  /// - Parameters:
  ///   - rank: The rank that asks.
  ///   - placements: All ranks' placements, in rank order.
  /// - Returns: At least 1.
  public static func defaultThreadCount(rank: Int, placements: [RankPlacement]) -> Int {
    let own = placements[rank]
    let sharing = placements.indices.count { other in
      other == rank
        || (placements[other].hostHash == own.hostHash
          && placements[other].cores.intersects(own.cores))
    }
    return max(1, own.cores.count / sharing)
  }
}

extension RankPlacement {
  /// The cores that travel: 8,192 of a host, more than Linux supports on any of its usual builds.
  private static var wordCount: Int { 128 }

  /// Tells all ranks where each of them runs.
  ///
  /// Collective: every rank calls it once, at the start.
  ///
  /// - Parameters:
  ///   - own: This rank's placement.
  ///   - communicator: The ranks.
  /// - Returns: All placements, in rank order.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public static func gather(
    _ own: RankPlacement, communicator: any Communicator
  ) throws -> [RankPlacement] {
    var record = [own.hostHash] + own.cores.words.prefix(wordCount)
    record += [UInt64](repeating: 0, count: 1 + wordCount - record.count)
    var records = [UInt64](repeating: 0, count: record.count * communicator.worldSize)
    let counts = [Int](repeating: record.count * 8, count: communicator.worldSize)
    try record.withUnsafeBytes { send in
      try records.withUnsafeMutableBytes { receive in
        try communicator.allGather(send, into: receive, counts: counts)
      }
    }
    return stride(from: 0, to: records.count, by: record.count).map { first in
      RankPlacement(
        hostHash: records[first],
        cores: CoreSet(words: Array(records[first + 1..<first + record.count])))
    }
  }
}
