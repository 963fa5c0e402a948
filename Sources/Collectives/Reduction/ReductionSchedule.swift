/// A list of additions between equally long arrays, worked out once and then replayed.
///
/// The arrays lie in memory at a constant stride; positions count them from 0. Replaying performs
/// the additions of a ``ReductionTree`` in place, allocates nothing and only reads this value, so
/// several threads may replay one schedule on different elements of the same arrays: every
/// element's additions are the same in any partition, and so are its bits.
///
/// Sums are bitwise equal to the tree's. Only the payload of a NaN is not promised.
public struct ReductionSchedule: Sendable {
  /// One addition: the array at `source` is added to the one at `destination`.
  public struct Addition: Sendable, Equatable {
    /// The position that receives the sum.
    public let destination: Int
    /// The position that is added; its array is spent afterwards.
    public let source: Int
  }

  /// The number of arrays that it works on.
  public let arrayCount: Int
  /// The additions, in order; every array is a source at most once.
  public let additions: [Addition]
  /// The nodes whose sums it forms, left to right.
  public let segments: [ReductionTree.Node]
  /// Where the sum of every segment lies afterwards.
  public let resultPositions: [Int]

  /// Plans the sums of the leaves that one rank owns.
  ///
  /// Array i is the leaf `leaves.lowerBound` + i; the sum of each segment ends up in the array of
  /// its first leaf.
  ///
  /// - Parameters:
  ///   - tree: The order of all additions.
  ///   - leaves: The rank's run of leaves.
  public init(tree: ReductionTree, leaves: Range<Int>) {
    var additions: [Addition] = []
    let segments = tree.segments(of: leaves)
    for segment in segments {
      let covered = tree.leaves(of: segment)
      for level in 0..<segment.level {
        let distance = 1 << level
        for left in stride(from: covered.lowerBound, to: covered.upperBound, by: 2 * distance)
        where left + distance < covered.upperBound {
          additions.append(
            Addition(
              destination: left - leaves.lowerBound,
              source: left + distance - leaves.lowerBound))
        }
      }
    }
    arrayCount = leaves.count
    self.additions = additions
    self.segments = segments
    resultPositions = segments.map { tree.leaves(of: $0).lowerBound - leaves.lowerBound }
  }

  /// Plans to join sums that several ranks have formed, as far as the tree joins them.
  ///
  /// Array i is the sum of `nodes[i]`. If the nodes cover the whole tree the total ends up in array
  /// 0; if they cover a run of leaves, what is left are the segments of that run.
  ///
  /// - Parameters:
  ///   - nodes: Nodes that follow one another without a gap, left to right.
  ///   - tree: The order of all additions.
  public init(joining nodes: [ReductionTree.Node], of tree: ReductionTree) {
    // The arrays that are still live, with the leaves that each covers so far. A pass over one
    // level joins those whose union is a node of that level.
    var live = nodes.enumerated().map {
      (position: $0.offset, leaves: tree.leaves(of: $0.element))
    }
    var additions: [Addition] = []
    var distance = 1
    while live.count > 1, distance < tree.leafCount {
      var joined: [(position: Int, leaves: Range<Int>)] = []
      for piece in live {
        if let left = joined.last, left.leaves.count == distance,
          left.leaves.lowerBound.isMultiple(of: 2 * distance),
          piece.leaves.upperBound
            == min(left.leaves.lowerBound + 2 * distance, tree.leafCount)
        {
          additions.append(Addition(destination: left.position, source: piece.position))
          joined[joined.count - 1].leaves = left.leaves.lowerBound..<piece.leaves.upperBound
        } else {
          joined.append(piece)
        }
      }
      live = joined
      distance *= 2
    }
    arrayCount = nodes.count
    self.additions = additions
    resultPositions = live.map(\.position)
    let first = live.first?.leaves.lowerBound ?? 0
    segments = tree.segments(of: first..<(live.last?.leaves.upperBound ?? first))
    precondition(segments.count == live.count, "the nodes do not follow one another")
  }
}
