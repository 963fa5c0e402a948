/// The binary tree that fixes the order of every sum over microbatches.
///
/// The leaves are the M microbatches of a global batch, in order. On every level, neighbors are added in pairs; an odd
/// node at the end moves up unchanged. Node (level, i) covers the leaves i·2^level ..< min((i + 1)·2^level, M). Thus 8
/// leaves are summed as ((0+1)+(2+3))+((4+5)+(6+7)), 6 as ((0+1)+(2+3))+(4+5), and 5 as ((0+1)+(2+3))+4.
///
/// A rank owns a contiguous range of leaves and adds the maximal subtrees inside it (``maximalSubtrees(of:)``). Sums that
/// cross ranks are added afterwards, in the same tree. Every addition of the tree happens exactly once with the same two
/// operands, on whichever rank. The sum is therefore bitwise independent of the number of ranks.
public struct ReductionTree: Sendable, Equatable {
  /// A subtree, identified by its level and its index in that level; a leaf has level 0.
  public struct Node: Sendable, Hashable {
    /// The height of the subtree.
    public let level: Int
    /// The index within the level, from the left.
    public let index: Int

    /// Creates the node (level, index).
    public init(level: Int, index: Int) {
      self.level = level
      self.index = index
    }
  }

  /// The number of leaves, M.
  public let leafCount: Int

  /// Creates the tree over `leafCount` leaves.
  ///
  /// - Precondition: `leafCount` is positive.
  public init(leafCount: Int) {
    precondition(leafCount > 0, "a reduction tree needs at least one leaf")
    self.leafCount = leafCount
  }

  /// The node that covers every leaf.
  public var root: Node { maximalSubtrees(of: 0..<leafCount)[0] }

  /// Returns the leaves that a node covers.
  ///
  /// - Parameter node: A node that covers at least one leaf.
  /// - Returns: A nonempty range.
  public func leaves(of node: Node) -> Range<Int> {
    let first = node.index << node.level
    precondition(first < leafCount, "the node lies outside the reduction tree")
    return first..<min((node.index + 1) << node.level, leafCount)
  }

  /// Returns the leaf range of every rank: contiguous, in rank order, as equal as possible.
  ///
  /// Rank r of p owns floor(r·M/p) ..< floor((r + 1)·M/p).
  ///
  /// - Parameter worldSize: The number of ranks, 1 … `leafCount`; check a user's number with
  ///   ``validate(worldSize:)`` first.
  /// - Returns: One range per rank.
  public func leafRanges(worldSize: Int) -> [Range<Int>] {
    precondition(
      worldSize > 0 && worldSize <= leafCount, "every rank must own at least one microbatch")
    return (0..<worldSize).map { rank in
      rank * leafCount / worldSize..<(rank + 1) * leafCount / worldSize
    }
  }

  /// Returns the maximal subtrees inside a leaf range, left to right: the fewest nodes that cover exactly these leaves.
  ///
  /// A node that moved up unchanged is identified by the lowest of its levels.
  ///
  /// - Parameter range: A range within 0 ..< `leafCount`; an empty range has no subtrees.
  /// - Returns: The nodes, left to right.
  public func maximalSubtrees(of range: Range<Int>) -> [Node] {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= leafCount, "the leaf range lies outside the reduction tree")
    var nodes: [Node] = []
    var first = range.lowerBound
    while first < range.upperBound {
      var node = Node(level: 0, index: first)
      while let parent = parentStarting(at: first, above: node),
        leaves(of: parent).upperBound <= range.upperBound
      {
        node = parent
      }
      nodes.append(node)
      first = leaves(of: node).upperBound
    }
    return nodes
  }

  /// The parent of `node` if it starts at the same leaf and covers more.
  private func parentStarting(at first: Int, above node: Node) -> Node? {
    let carriedUp = leaves(of: node).upperBound == leafCount
    guard node.index.isMultiple(of: 2), !carriedUp else { return nil }
    return Node(level: node.level + 1, index: node.index / 2)
  }
}

/// A number of ranks among which the microbatches cannot be divided.
public struct WorldSizeError: Error, CustomStringConvertible, Equatable {
  /// One sentence: the two numbers and what to change.
  public let description: String

  /// Creates an error from its sentence.
  public init(_ description: String) { self.description = description }
}

extension ReductionTree {
  /// Checks that every rank can own at least one leaf.
  ///
  /// - Parameter worldSize: The number of ranks.
  /// - Throws: ``WorldSizeError`` if there are more ranks than leaves, or none.
  public func validate(worldSize: Int) throws(WorldSizeError) {
    guard worldSize <= leafCount else {
      throw WorldSizeError(
        "\(worldSize) ranks cannot share \(leafCount) microbatches: start at most \(leafCount) "
          + "ranks (mpirun -np \(leafCount)) or raise --microbatches to at least \(worldSize).")
    }
    guard worldSize > 0 else {
      throw WorldSizeError("A world of \(worldSize) ranks cannot train: start at least one rank.")
    }
  }
}
