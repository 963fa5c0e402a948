import Support

/// The host of one rank and the cores that the rank may use there.
public struct RankPlacement: Equatable, Sendable {
  /// The 64-bit FNV-1a hash of the host's name, equal on all ranks of one host.
  public let hostHash: UInt64
  /// The cores that Linux lets this rank use.
  public let cores: CPUSet

  /// Creates the placement of a rank.
  ///
  /// - Parameters:
  ///   - hostName: The host's name, unique within the job.
  ///   - cores: The cores that the rank may use.
  public init(hostName: String, cores: CPUSet) {
    hostHash = FNV1a(hostName).value
    self.cores = cores
  }

  private init(hostHash: UInt64, cores: CPUSet) {
    self.hostHash = hostHash
    self.cores = cores
  }

  /// Returns the default number of threads of a rank.
  ///
  /// It is the number of its cores, divided by the number of ranks on its host whose cores overlap with them, itself
  /// included. Ranks bound to disjoint cores thus use all of them, and ranks on the same cores get equal shares.
  ///
  /// - Parameters:
  ///   - rank: The rank.
  ///   - placements: The placements of all ranks, in rank order.
  /// - Returns: At least 1.
  public static func defaultThreadCount(rank: Int, placements: [RankPlacement]) -> Int {
    let own = placements[rank]
    let overlapping = placements.indices.count { other in
      other == rank
        || (placements[other].hostHash == own.hostHash
          && placements[other].cores.intersects(own.cores))
    }
    return max(1, own.cores.count / overlapping)
  }
}

extension RankPlacement {
  /// The words of a core mask in a message: 8,192 cores, more than any usual build of Linux supports.
  private static var wordCount: Int { 128 }

  /// Collective: gathers the placements of all ranks on every rank.
  ///
  /// - Parameters:
  ///   - own: This rank's placement.
  ///   - communicator: The ranks.
  /// - Returns: All placements, in rank order.
  /// - Throws: ``CommunicationError`` if communication fails.
  public static func allGather(
    _ own: RankPlacement, communicator: any Communicator
  ) throws -> [RankPlacement] {
    var record = [own.hostHash] + own.cores.words.prefix(wordCount)
    record += [UInt64](repeating: 0, count: 1 + wordCount - record.count)
    let records = try communicator.allGather(record)
    return stride(from: 0, to: records.count, by: record.count).map { first in
      RankPlacement(
        hostHash: records[first],
        cores: CPUSet(words: Array(records[first + 1..<first + record.count])))
    }
  }

  /// Returns the number of ranks per host if it is uniform, which makes hierarchical reductions possible.
  ///
  /// - Parameter hostOfRank: The host of every rank, as in ``Communicator/hostOfRank``.
  /// - Returns: The ranks per host under block placement (`--map-by slot`) on several hosts with equally many ranks, more
  ///   than one each. Otherwise `nil`.
  public static func uniformRanksPerHost(_ hostOfRank: [Int]) -> Int? {
    let hostCount = (hostOfRank.max() ?? 0) + 1
    let size = hostOfRank.count / hostCount
    guard hostCount > 1, size > 1, hostOfRank.count == size * hostCount,
      hostOfRank.indices.allSatisfy({ hostOfRank[$0] == $0 / size })
    else { return nil }
    return size
  }

  /// Detects a rank with more threads than the cores that its CPU affinity allows.
  ///
  /// Open MPI binds each rank of `mpirun -np 1` and `-np 2` to a single core by default; all threads of a rank then share
  /// that core. More threads than cores without a restricted affinity are the user's choice and not a problem.
  ///
  /// - Parameters:
  ///   - rank: The rank, for the message.
  ///   - threadCount: The number of threads requested.
  ///   - usableCoreCount: The number of cores that this rank may use.
  ///   - onlineCoreCount: The number of cores of the host.
  /// - Returns: One sentence with the fix (exit code 64), or `nil`.
  public static func affinityProblem(
    rank: Int, threadCount: Int, usableCoreCount: Int, onlineCoreCount: Int
  ) -> String? {
    guard usableCoreCount < onlineCoreCount, threadCount > usableCoreCount else { return nil }
    let cores = usableCoreCount == 1 ? "1 core" : "\(usableCoreCount) cores"
    return
      "Rank \(rank) is bound to \(cores) of \(onlineCoreCount) but --threads \(threadCount) asks "
      + "for more: start it with mpirun --bind-to none or mpirun --map-by slot:PE=\(threadCount) "
      + "--bind-to core, or lower --threads to \(usableCoreCount)."
  }

  /// Detects ranks with more threads than cores.
  ///
  /// Results do not depend on it, so it is no error.
  ///
  /// - Parameters:
  ///   - threadCount: The number of threads requested, per rank.
  ///   - placements: The placements of all ranks, in rank order.
  /// - Returns: One sentence about the first such rank, or `nil`.
  public static func threadWarning(threadCount: Int, placements: [RankPlacement]) -> String? {
    guard let rank = placements.firstIndex(where: { threadCount > $0.cores.count }) else { return nil }
    let count = max(1, placements[rank].cores.count)
    return
      "rank \(rank) has \(threadCount) threads on \(count) core\(count == 1 ? "" : "s"), which is slower than one thread "
      + "per core; lower --threads to \(count)."
  }
}

/// A set of processor cores (hardware threads), numbered as in Linux.
public struct CPUSet: Equatable, Sendable {
  /// One bit per core, with core 0 in the lowest bit of the first word.
  public private(set) var words: [UInt64]

  /// Creates a set from its words.
  public init(words: [UInt64]) { self.words = words }

  /// Creates a set of the given cores.
  ///
  /// - Parameter cores: Nonnegative core numbers.
  public init(_ cores: some Sequence<Int>) {
    words = []
    for core in cores {
      while words.count <= core / 64 { words.append(0) }
      words[core / 64] |= 1 << UInt64(core % 64)
    }
  }

  /// The numbers of the cores in the set, ascending.
  public var cores: [Int] { (0..<64 * words.count).filter { words[$0 / 64] >> UInt64($0 % 64) & 1 == 1 } }

  /// The number of cores in the set.
  public var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

  /// Returns whether any core is in both sets.
  ///
  /// - Parameter other: A set of cores of the same host.
  /// - Returns: Whether the sets have a common core.
  public func intersects(_ other: CPUSet) -> Bool {
    zip(words, other.words).contains { $0 & $1 != 0 }
  }
}
