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
  /// Whether each of all these sums travels as bfloat16, peer after peer.
  let isRounded: [Bool]
  /// How all of them are joined, peer after peer.
  let schedule: ReductionSchedule
  /// For every bucket, the slice of each of them.
  let slices: [[Range<Int>]]

  /// Plans a stage.
  ///
  /// - Parameters:
  ///   - peers: The ranks.
  ///   - place: This rank's place among them.
  ///   - nodes: The subtrees whose sums each of them brings.
  ///   - tree: The tree over all microbatches.
  ///   - roundingLevel: The level of the tree whose sums have been rounded to bfloat16; nil: none.
  ///   - slices: For every bucket, the slice of each of them.
  init(
    peers: [Int], place: Int, nodes: [[ReductionTree.Node]], of tree: ReductionTree,
    roundingLevel: Int?, slices: [[Range<Int>]]
  ) {
    self.peers = peers
    self.place = place
    self.slices = slices
    partialCounts = nodes.map(\.count)
    let all = nodes.flatMap { $0 }
    // Sums of higher levels are sums of several rounded ones, and need all of their bits.
    isRounded = all.map { node in roundingLevel.map { node.level <= $0 } ?? false }
    schedule = ReductionSchedule(joining: all, of: tree)
  }
}
