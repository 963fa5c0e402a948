import Collectives

/// Which ranks exchange what: the stages of every rank.
///
/// Where ranks fill several hosts evenly, one host after another, there are two stages. Within a host its ranks share
/// the slices of a bucket out among themselves and form the host's partial sums; across hosts a rank talks only to those
/// of the same place in their hosts, about its own slice. So a host's partial sums cross the wire once, and all its ranks
/// take part in sending them. Elsewhere all ranks exchange with each other directly, unless they are so many that their
/// messages would be tiny; then groups of ranks take the place of hosts.
///
/// Every way each addition of the tree is made once, by whoever has both operands, so the sums have the same bits.
struct ReductionTopology {
  /// For every bucket, the slice that every rank owns in the end.
  let shards: [[Range<Int>]]
  /// How many ranks that follow one another, those of a host as a rule, exchange in a first stage; nil: all do directly.
  let groupSize: Int?
  /// The most partial sums that any rank brings to any stage.
  let maximumPartialCount: Int

  /// The level of the tree whose sums have been rounded to bfloat16; nil: none.
  let roundingLevel: Int?

  private let tree: ReductionTree
  private let worldSize: Int
  /// For every bucket, the slice of every place within a host.
  private let sharedSlices: [[Range<Int>]]
  /// The subtrees of every rank.
  private let rankNodes: [[ReductionTree.Node]]
  /// The subtrees of every host.
  private let hostNodes: [[ReductionTree.Node]]

  /// Plans the exchange of all ranks.
  ///
  /// - Parameters:
  ///   - plan: The buckets.
  ///   - tree: The tree over all microbatches.
  ///   - wire: In what form partial sums travel.
  ///   - hosts: The host of every rank, as numbers from 0 in the order of their first ranks.
  init(_ plan: BucketPlan, tree: ReductionTree, wire: WireFormat, hosts: [Int]) {
    self.tree = tree
    roundingLevel = wire.roundingLevel(of: tree)
    worldSize = hosts.count
    let ownership = tree.ownership(worldSize: worldSize)
    rankNodes = ownership.map { tree.segments(of: $0) }
    groupSize =
      HostLayout.ranksPerHost(hosts) ?? (roundingLevel == nil ? Self.groupSize(plan, worldSize: worldSize) : nil)
    let pieces = BucketPlan.shards(of: plan.buckets, count: worldSize)
    guard let local = groupSize else {
      shards = pieces
      sharedSlices = []
      hostNodes = []
      maximumPartialCount = rankNodes.map(\.count).max() ?? 0
      return
    }
    let hostCount = worldSize / local
    // A place's slice lies in one piece, divided among the ranks that have this place in their hosts.
    shards = pieces.map { pieces in
      (0..<pieces.count).map { pieces[$0 % local * hostCount + $0 / local] }
    }
    sharedSlices = pieces.map { pieces in
      (0..<local).map { place in
        pieces[place * hostCount].lowerBound..<pieces[(place + 1) * hostCount - 1].upperBound
      }
    }
    hostNodes = (0..<hostCount).map { host in
      let last = ownership[(host + 1) * local - 1]
      return tree.segments(of: ownership[host * local].lowerBound..<last.upperBound)
    }
    maximumPartialCount = (rankNodes + hostNodes).map(\.count).max() ?? 0
  }

  /// Returns the stages of a rank in the order of the way there: none if it is alone.
  func stages(rank: Int) -> [ReductionStage] {
    guard worldSize > 1 else { return [] }
    guard let local = groupSize else {
      return [
        ReductionStage(
          peers: Array(0..<worldSize), place: rank, nodes: rankNodes, of: tree,
          roundingLevel: roundingLevel, shards: shards)
      ]
    }
    let (host, place) = rank.quotientAndRemainder(dividingBy: local)
    let neighbours = Array(host * local..<(host + 1) * local)
    let counterparts = Array(stride(from: place, to: worldSize, by: local))
    return [
      ReductionStage(
        peers: neighbours, place: place, nodes: neighbours.map { rankNodes[$0] }, of: tree,
        roundingLevel: roundingLevel, shards: sharedSlices),
      ReductionStage(
        peers: counterparts, place: host, nodes: hostNodes, of: tree,
        roundingLevel: roundingLevel, shards: shards.map { bucket in counterparts.map { bucket[$0] } }),
    ]
  }

  /// How many ranks that follow one another work together first where hosts do not decide it; nil: all exchange directly.
  ///
  /// Among many ranks a direct exchange is a burst of small messages, p − 1 from each rank for every bucket. In groups of
  /// g a rank sends g − 1 + p/g − 1 of them, with the same bytes in all, but in two rounds: worth it where a message is
  /// smaller than what a network carries during a message's latency, 1.2 GB/s for 13 µs. Sums of rounded sums need all of
  /// their bits, so that with bfloat16 the second round would take more bytes than it saves messages.
  private static func groupSize(_ plan: BucketPlan, worldSize: Int) -> Int? {
    let messageBytes = 4 * plan.elementCount / max(1, plan.buckets.count * worldSize)
    guard worldSize >= smallestGroupedWorld, messageBytes < smallMessageByteCount else { return nil }
    let root = Double(worldSize).squareRoot()
    return (2..<worldSize).filter(worldSize.isMultiple(of:)).min { abs(Double($0) - root) < abs(Double($1) - root) }
  }
  private static let smallestGroupedWorld = 8
  private static let smallMessageByteCount = 16 << 10
}

/// One stage of the exchange of gradients: some ranks, of which each brings partial sums and leaves with one slice of
/// every bucket.
///
/// On the way there the slices are joined along the fixed tree; on the way back, in the opposite order of stages, the
/// same ranks give each other what became of them.
struct ReductionStage {
  /// The ranks, in the order of their microbatches, this one among them.
  let peers: [Int]
  /// This rank's place in `peers`.
  let place: Int
  /// How many partial sums each of them brings.
  let partialCounts: [Int]
  /// Whether each of all these sums travels as bfloat16, peer after peer.
  let isRounded: [Bool]
  /// How all of them are joined, peer after peer.
  let schedule: ReductionSchedule
  /// For every bucket, the slice of each of them.
  let shards: [[Range<Int>]]

  /// Plans a stage.
  ///
  /// - Parameters:
  ///   - peers: The ranks.
  ///   - place: This rank's place among them.
  ///   - nodes: The subtrees whose sums each of them brings.
  ///   - tree: The tree over all microbatches.
  ///   - roundingLevel: The level of the tree whose sums have been rounded to bfloat16; nil: none.
  ///   - shards: For every bucket, the slice of each of them.
  init(
    peers: [Int], place: Int, nodes: [[ReductionTree.Node]], of tree: ReductionTree,
    roundingLevel: Int?, shards: [[Range<Int>]]
  ) {
    self.peers = peers
    self.place = place
    self.shards = shards
    partialCounts = nodes.map(\.count)
    let all = nodes.flatMap { $0 }
    // Sums of higher levels are sums of several rounded ones, and need all of their bits.
    isRounded = all.map { node in roundingLevel.map { node.level <= $0 } ?? false }
    schedule = ReductionSchedule(joining: all, of: tree)
  }
}
