import Collectives

/// Which ranks exchange what: the stages of every rank.
///
/// Where ranks fill several hosts evenly, one host after another, there are two stages. Within a host its ranks share
/// the slices of a bucket out among themselves and form the host's partial sums; across hosts a rank talks only to those
/// of the same place in their hosts, about its own slice. So a host's partial sums cross the wire once, and all its ranks
/// take part in sending them. Everywhere else all ranks exchange with each other directly.
///
/// Either way each addition of the tree is made once, by whoever has both operands, so the sums have the same bits.
struct ExchangeLayout {
  /// For every bucket, the slice that every rank owns in the end.
  let slices: [[Range<Int>]]
  /// The ranks of each host if the exchange has a stage within hosts; nil: it is direct.
  let ranksPerHost: Int?
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
    ranksPerHost = Self.ranksPerHost(hosts)
    let pieces = BucketPlan.slices(of: plan.buckets, count: worldSize)
    guard let local = ranksPerHost else {
      slices = pieces
      sharedSlices = []
      hostNodes = []
      maximumPartialCount = rankNodes.map(\.count).max() ?? 0
      return
    }
    let hostCount = worldSize / local
    // A place's slice lies in one piece, divided among the ranks that have this place in their hosts.
    slices = pieces.map { pieces in
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
  func stages(rank: Int) -> [ExchangeStage] {
    guard worldSize > 1 else { return [] }
    guard let local = ranksPerHost else {
      return [
        ExchangeStage(
          peers: Array(0..<worldSize), place: rank, nodes: rankNodes, of: tree,
          roundingLevel: roundingLevel, slices: slices)
      ]
    }
    let (host, place) = rank.quotientAndRemainder(dividingBy: local)
    let neighbours = Array(host * local..<(host + 1) * local)
    let counterparts = Array(stride(from: place, to: worldSize, by: local))
    return [
      ExchangeStage(
        peers: neighbours, place: place, nodes: neighbours.map { rankNodes[$0] }, of: tree,
        roundingLevel: roundingLevel, slices: sharedSlices),
      ExchangeStage(
        peers: counterparts, place: host, nodes: hostNodes, of: tree,
        roundingLevel: roundingLevel, slices: slices.map { bucket in counterparts.map { bucket[$0] } }),
    ]
  }

  /// The ranks of each host if there are several hosts with equally many ranks, more than one, in runs; else nil.
  private static func ranksPerHost(_ hosts: [Int]) -> Int? {
    let hostCount = (hosts.max() ?? 0) + 1
    let local = hosts.count / hostCount
    guard hostCount > 1, local > 1, hosts.count == local * hostCount,
      hosts.indices.allSatisfy({ hosts[$0] == $0 / local })
    else { return nil }
    return local
  }
}
