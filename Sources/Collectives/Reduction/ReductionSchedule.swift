/// A precomputed list of in-place additions between arrays of equal length.
///
/// Arrays are identified by their position, from 0. Applying a schedule performs the additions of a ``ReductionTree``,
/// allocates nothing and only reads the schedule. Threads may apply one schedule to disjoint elements of the same arrays:
/// the additions per element, and thus the bits, do not depend on the partition.
///
/// Sums are bitwise identical to the tree's. Only the payload of a NaN is unspecified.
public struct ReductionSchedule: Sendable {
  /// One addition: the array at `source` is added to the array at `destination`.
  public struct Addition: Sendable, Equatable {
    /// The position that receives the sum.
    public let destination: Int
    /// The position that is added; its array is not read again.
    public let source: Int
  }

  /// The number of arrays that the schedule covers.
  public let arrayCount: Int
  /// The additions, in order; every array is a source at most once.
  public private(set) var additions: [Addition]
  /// The subtrees whose sums the schedule forms, left to right.
  public let subtrees: [ReductionTree.Node]
  /// The position of the sum of each subtree.
  public let resultPositions: [Int]

  /// Plans the subtree sums of one rank's leaves.
  ///
  /// Array i is the leaf `leaves.lowerBound` + i. The sum of each subtree replaces the array of its first leaf.
  ///
  /// - Parameters:
  ///   - tree: The order of all additions.
  ///   - leaves: The rank's leaf range.
  public init(tree: ReductionTree, leaves: Range<Int>) {
    var additions: [Addition] = []
    let subtrees = tree.maximalSubtrees(of: leaves)
    for subtree in subtrees {
      let covered = tree.leaves(of: subtree)
      for level in 0..<subtree.level {
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
    self.subtrees = subtrees
    resultPositions = subtrees.map { tree.leaves(of: $0).lowerBound - leaves.lowerBound }
  }

  /// Plans to merge the partial sums of several ranks as far as the tree adds them.
  ///
  /// Array i is the sum of `nodes[i]`. If the nodes cover the whole tree, array 0 receives the total. If they cover a
  /// leaf range, the maximal subtrees of that range remain.
  ///
  /// - Parameters:
  ///   - nodes: Adjacent nodes without a gap, left to right.
  ///   - tree: The order of all additions.
  public init(merging nodes: [ReductionTree.Node], of tree: ReductionTree) {
    // The arrays that are still live, with the leaves that each covers so far. Every iteration merges those whose union
    // is a node of its level.
    var live = nodes.enumerated().map {
      (position: $0.offset, leaves: tree.leaves(of: $0.element))
    }
    var additions: [Addition] = []
    var distance = 1
    while live.count > 1, distance < tree.leafCount {
      var merged: [(position: Int, leaves: Range<Int>)] = []
      for right in live {
        if let left = merged.last, left.leaves.count == distance,
          left.leaves.lowerBound.isMultiple(of: 2 * distance),
          right.leaves.upperBound
            == min(left.leaves.lowerBound + 2 * distance, tree.leafCount)
        {
          additions.append(Addition(destination: left.position, source: right.position))
          merged[merged.count - 1].leaves = left.leaves.lowerBound..<right.leaves.upperBound
        } else {
          merged.append(right)
        }
      }
      live = merged
      distance *= 2
    }
    arrayCount = nodes.count
    self.additions = additions
    resultPositions = live.map(\.position)
    let first = live.first?.leaves.lowerBound ?? 0
    subtrees = tree.maximalSubtrees(of: first..<(live.last?.leaves.upperBound ?? first))
    precondition(subtrees.count == live.count, "the nodes to merge must be adjacent")
  }

  /// What is left of a schedule of leaves once those of every addition of two leaves have been added.
  public var withoutLeafPairs: ReductionSchedule {
    var rest = self
    rest.additions.removeAll(where: \.isOfLeaves)
    return rest
  }
}

extension ReductionSchedule.Addition {
  /// Whether both arrays are leaves, in a schedule of leaves: the operands of an addition are as far apart as a node of
  /// their level is wide.
  fileprivate var isOfLeaves: Bool { source - destination == 1 }
}

/// The subtree sums of one rank's leaves, where the sums at the rounding level are rounded to bfloat16.
///
/// The additions below the rounding level come first, then the roundings, then the additions above it. Like
/// ``ReductionSchedule``, it can be applied by several threads to disjoint elements.
public struct RoundedReductionSchedule: Sendable {
  /// The additions within the subtrees of the rounding level.
  private(set) var additionsBelow: [ReductionSchedule.Addition]
  /// The positions whose sums are rounded.
  let roundedPositions: [Int]
  /// The additions of rounded sums.
  let additionsAbove: [ReductionSchedule.Addition]

  /// Plans the sums of one rank's leaves.
  ///
  /// - Parameters:
  ///   - tree: The order of all additions.
  ///   - leaves: The rank's leaf range, which divides no subtree of the rounding level.
  ///   - level: The rounding level.
  public init(tree: ReductionTree, leaves: Range<Int>, level: Int) {
    let width = 1 << level
    precondition(
      leaves.lowerBound.isMultiple(of: width)
        && (leaves.upperBound.isMultiple(of: width) || leaves.upperBound == tree.leafCount),
      "a rank must own whole subtrees of the rounding level")
    // The operands of an addition are as far apart as a node of their level is wide.
    let additions = ReductionSchedule(tree: tree, leaves: leaves).additions
    additionsBelow = additions.filter { $0.source - $0.destination < width }
    additionsAbove = additions.filter { $0.source - $0.destination >= width }
    roundedPositions = Array(stride(from: 0, to: leaves.count, by: width))
  }

  /// What is left of the schedule once the leaves of every addition of two leaves have been added.
  ///
  /// - Precondition: The rounding level is above the leaves.
  public var withoutLeafPairs: RoundedReductionSchedule {
    precondition(!additionsAbove.contains(where: \.isOfLeaves), "leaves are rounded before they are added")
    var rest = self
    rest.additionsBelow.removeAll(where: \.isOfLeaves)
    return rest
  }
}
