/// Where one rank runs: its host and the cores that it may use there.
public struct RankPlacement: Equatable, Sendable {
  /// A 64-bit hash of the host's name (FNV-1a), equal on all ranks of one host.
  public let hostHash: UInt64
  /// The cores that the operating system lets this rank use.
  public let cores: CPUSet

  /// Makes the placement of a rank.
  ///
  /// - Parameters:
  ///   - hostName: The host's name, unique within the job.
  ///   - cores: The cores that the rank may use.
  public init(hostName: String, cores: CPUSet) {
    hostHash = hostName.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    self.cores = cores
  }

  fileprivate init(hostHash: UInt64, cores: CPUSet) {
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
        cores: CPUSet(words: Array(records[first + 1..<first + record.count])))
    }
  }
}

/// A set of processor cores (hardware threads), as the operating system numbers them.
public struct CPUSet: Equatable, Sendable {
  /// One bit a core, core 0 in the lowest bit of the first word.
  public private(set) var words: [UInt64]

  /// Makes a set from its words.
  public init(words: [UInt64]) { self.words = words }

  /// Makes a set of the given cores.
  ///
  /// - Parameter cores: Core numbers, none of them negative.
  public init(_ cores: some Sequence<Int>) {
    words = []
    for core in cores {
      while words.count <= core / 64 { words.append(0) }
      words[core / 64] |= 1 << UInt64(core % 64)
    }
  }

  /// The number of cores in the set.
  public var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

  /// Tells whether any core is in both sets.
  ///
  /// - Parameter other: Another set of cores of the same host.
  /// - Returns: Whether they share a core.
  public func intersects(_ other: CPUSet) -> Bool {
    zip(words, other.words).contains { $0 & $1 != 0 }
  }
}

/// Finds ranks that were bound to fewer cores than the threads they were asked to run.
///
/// Open MPI binds each rank of `mpirun -np 1` and `-np 2` to a single core unless told otherwise;
/// all threads of a rank then take turns on that core.
public enum PinnedRank {
  /// Compares the threads asked for with the cores allowed.
  ///
  /// More threads than cores on a whole, unrestricted machine is the user's own choice and fine.
  ///
  /// - Parameters:
  ///   - rank: The rank, for the sentence.
  ///   - threadCount: The threads asked for.
  ///   - usableCoreCount: The cores that this rank may use.
  ///   - onlineCoreCount: The cores of the host.
  /// - Returns: One sentence with the remedy (exit code 64), or nil.
  public static func problem(
    rank: Int, threadCount: Int, usableCoreCount: Int, onlineCoreCount: Int
  ) -> String? {
    guard usableCoreCount < onlineCoreCount, threadCount > usableCoreCount else { return nil }
    let cores = usableCoreCount == 1 ? "1 core" : "\(usableCoreCount) cores"
    return
      "Rank \(rank) is bound to \(cores) of \(onlineCoreCount) but --threads \(threadCount) asks "
      + "for more: start it with mpirun --bind-to none or mpirun --map-by slot:PE=\(threadCount) "
      + "--bind-to core, or lower --threads to \(usableCoreCount)."
  }
}

/// How ranks are spread over hosts, where that is regular.
public enum HostLayout {
  /// Returns how many ranks each host has, if ranks can work together host by host.
  ///
  /// - Parameter hosts: The host of every rank, as ``Communicator/hosts`` has them.
  /// - Returns: The ranks of each host if there are several hosts with equally many ranks, more than one, each host
  ///   filled after the one before; else nil.
  public static func ranksPerHost(_ hosts: [Int]) -> Int? {
    let hostCount = (hosts.max() ?? 0) + 1
    let local = hosts.count / hostCount
    guard hostCount > 1, local > 1, hosts.count == local * hostCount,
      hosts.indices.allSatisfy({ hosts[$0] == $0 / local })
    else { return nil }
    return local
  }
}
