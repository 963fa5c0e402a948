import Collectives

/// The stages in which every rank reduces a bucket, and its peers in each.
///
/// With block placement on several hosts the reduction is hierarchical, in two stages. First, the ranks of a host divide
/// a bucket among themselves and form the host's partial sums. Then a rank exchanges its shard with the ranks of the same
/// local rank on the other hosts. So each partial sum of a host crosses the network once, and all ranks of the host send.
/// Otherwise the reduction is flat: every rank exchanges with every other. Where flat messages would be tiny, because there
/// are many ranks, consecutive ranks take the role of hosts.
///
/// In every topology each addition of the tree happens once, on a rank that has both operands. The sums are therefore
/// bitwise identical.
struct ReductionTopology {
  /// For every bucket, the shard that each rank owns in the end.
  let shards: [[Range<Int>]]
  /// The number of consecutive ranks in the first of two stages, usually those of a host; `nil` if the reduction is flat.
  let innerSize: Int?
  /// The maximum number of partial sums that a rank contributes to a stage.
  let maximumPartialCount: Int

  /// The level of the tree whose sums are rounded to bfloat16; `nil` if no sum is rounded.
  let roundingLevel: Int?

  private let tree: ReductionTree
  private let worldSize: Int
  /// For every bucket, the shard of each local rank after the first of two stages.
  private let innerShards: [[Range<Int>]]
  /// The subtrees of every rank.
  private let rankSubtrees: [[ReductionTree.Node]]
  /// The subtrees of every host.
  private let hostSubtrees: [[ReductionTree.Node]]

  /// Plans the reduction of all ranks.
  ///
  /// - Parameters:
  ///   - plan: The buckets.
  ///   - tree: The tree over all microbatches.
  ///   - wire: The format of partial sums between ranks.
  ///   - hostOfRank: The host of every rank, numbered from 0 in the order of the hosts' lowest ranks.
  init(_ plan: BucketPlan, tree: ReductionTree, wire: WireFormat, hostOfRank: [Int]) {
    self.tree = tree
    roundingLevel = wire.roundingLevel(of: tree)
    worldSize = hostOfRank.count
    let leafRanges = tree.leafRanges(worldSize: worldSize)
    rankSubtrees = leafRanges.map { tree.maximalSubtrees(of: $0) }
    innerSize =
      RankPlacement.uniformRanksPerHost(hostOfRank)
      ?? (roundingLevel == nil ? Self.innerSize(plan, worldSize: worldSize) : nil)
    let flatShards = BucketPlan.shards(of: plan.buckets, count: worldSize)
    guard let innerSize else {
      shards = flatShards
      innerShards = []
      hostSubtrees = []
      maximumPartialCount = rankSubtrees.map(\.count).max() ?? 0
      return
    }
    let hostCount = worldSize / innerSize
    // The inner shard of a local rank is contiguous; the ranks with this local rank on all hosts share it.
    shards = flatShards.map { bucket in
      (0..<bucket.count).map { bucket[$0 % innerSize * hostCount + $0 / innerSize] }
    }
    innerShards = flatShards.map { bucket in
      (0..<innerSize).map { localRank in
        bucket[localRank * hostCount].lowerBound..<bucket[(localRank + 1) * hostCount - 1].upperBound
      }
    }
    hostSubtrees = (0..<hostCount).map { host in
      let last = leafRanges[(host + 1) * innerSize - 1]
      return tree.maximalSubtrees(of: leafRanges[host * innerSize].lowerBound..<last.upperBound)
    }
    maximumPartialCount = (rankSubtrees + hostSubtrees).map(\.count).max() ?? 0
  }

  /// Returns the stages of a rank in the order of the reduction; a single rank has none.
  func stages(rank: Int) -> [ReductionStage] {
    guard worldSize > 1 else { return [] }
    guard let innerSize else {
      return [
        ReductionStage(
          peers: Array(0..<worldSize), index: rank, subtrees: rankSubtrees, of: tree,
          roundingLevel: roundingLevel, shards: shards)
      ]
    }
    let (host, localRank) = rank.quotientAndRemainder(dividingBy: innerSize)
    let innerPeers = Array(host * innerSize..<(host + 1) * innerSize)
    let outerPeers = Array(stride(from: localRank, to: worldSize, by: innerSize))
    return [
      ReductionStage(
        peers: innerPeers, index: localRank, subtrees: innerPeers.map { rankSubtrees[$0] }, of: tree,
        roundingLevel: roundingLevel, shards: innerShards),
      ReductionStage(
        peers: outerPeers, index: host, subtrees: hostSubtrees, of: tree,
        roundingLevel: roundingLevel, shards: shards.map { bucket in outerPeers.map { bucket[$0] } }),
    ]
  }

  /// The number of consecutive ranks in the first of two stages, where hosts do not determine it; `nil` if one flat stage
  /// is faster.
  ///
  /// A flat reduction among p ranks sends p − 1 messages per rank and bucket. With inner size g a rank sends
  /// g − 1 + p/g − 1 messages with the same total of bytes, but in two rounds. That is faster if a message is smaller than
  /// what a network transfers during one latency: 1.2 GB/s for 13 µs. Sums of rounded sums need fp32, so with bfloat16 the
  /// second round would cost more bytes than the fewer messages save.
  private static func innerSize(_ plan: BucketPlan, worldSize: Int) -> Int? {
    let messageBytes = 4 * plan.elementCount / max(1, plan.buckets.count * worldSize)
    guard worldSize >= smallestTwoStageWorldSize, messageBytes < smallMessageByteCount else { return nil }
    let root = Double(worldSize).squareRoot()
    return (2..<worldSize).filter(worldSize.isMultiple(of:)).min { abs(Double($0) - root) < abs(Double($1) - root) }
  }
  private static let smallestTwoStageWorldSize = 8
  private static let smallMessageByteCount = 16 << 10
}

/// One stage of the gradient all-reduce: peers that reduce-scatter each bucket and, in the opposite order of stages,
/// all-gather the results.
///
/// Every peer contributes partial sums and ends the reduce-scatter with one shard of every bucket, reduced in tree order.
struct ReductionStage {
  /// The ranks, in the order of their microbatches, including this rank.
  let peers: [Int]
  /// The index of this rank in `peers`.
  let index: Int
  /// The number of partial sums that each peer contributes.
  let partialCounts: [Int]
  /// For all partial sums, concatenated over the peers, whether they are sent as bfloat16.
  let isRounded: [Bool]
  /// The additions that merge all partial sums, concatenated over the peers.
  let schedule: ReductionSchedule
  /// For every bucket, the shard of each peer.
  let shards: [[Range<Int>]]

  /// Plans a stage.
  ///
  /// - Parameters:
  ///   - peers: The ranks.
  ///   - index: The index of this rank in `peers`.
  ///   - subtrees: The subtrees whose sums each peer contributes.
  ///   - tree: The tree over all microbatches.
  ///   - roundingLevel: The level of the tree whose sums are rounded to bfloat16. If `nil`, no sum is rounded.
  ///   - shards: For every bucket, the shard of each peer.
  init(
    peers: [Int], index: Int, subtrees: [[ReductionTree.Node]], of tree: ReductionTree,
    roundingLevel: Int?, shards: [[Range<Int>]]
  ) {
    self.peers = peers
    self.index = index
    self.shards = shards
    partialCounts = subtrees.map(\.count)
    let all = subtrees.flatMap { $0 }
    // A sum above the rounding level adds several rounded sums, so it needs all bits of fp32.
    isRounded = all.map { node in roundingLevel.map { node.level <= $0 } ?? false }
    schedule = ReductionSchedule(merging: all, of: tree)
  }
}
