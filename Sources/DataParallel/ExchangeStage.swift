import Collectives

/// One stage of the exchange of gradients: some ranks, of which each brings partial sums and leaves with one slice of
/// every bucket.
///
/// On the way there the slices are joined along the fixed tree; on the way back, in the opposite order of stages, the
/// same ranks give each other what became of them.
struct ExchangeStage {
  /// The ranks, in the order of their microbatches, this one among them.
  let peers: [Int]
  /// This rank's place in `peers`.
  let place: Int
  /// How many partial sums each of them brings.
  let partialCounts: [Int]
  /// How all of them are joined, peer after peer.
  let schedule: ReductionSchedule
  /// For every bucket, the slice of each of them.
  let slices: [[Range<Int>]]
}

/// Which ranks exchange what: the stages of every rank.
struct ExchangeLayout {
  private let tree: ReductionTree
  private let worldSize: Int
  /// For every bucket, the slice of every rank.
  let slices: [[Range<Int>]]

  /// Plans the exchange of all ranks.
  ///
  /// - Parameters:
  ///   - plan: The buckets.
  ///   - tree: The tree over all microbatches.
  ///   - worldSize: The number of ranks.
  init(_ plan: BucketPlan, tree: ReductionTree, worldSize: Int) {
    self.tree = tree
    self.worldSize = worldSize
    slices = BucketPlan.slices(of: plan.buckets, count: worldSize)
  }

  /// Returns the stages of a rank in the order of the way there: none if it is alone, else a single one among all ranks.
  func stages(rank: Int) -> [ExchangeStage] {
    guard worldSize > 1 else { return [] }
    let nodes = tree.ownership(worldSize: worldSize).map { tree.segments(of: $0) }
    return [
      ExchangeStage(
        peers: Array(0..<worldSize), place: rank, partialCounts: nodes.map(\.count),
        schedule: ReductionSchedule(joining: nodes.flatMap { $0 }, of: tree), slices: slices)
    ]
  }
}
