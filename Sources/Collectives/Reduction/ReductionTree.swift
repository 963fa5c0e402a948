/// The one binary tree in whose order every sum over microbatches is formed.
///
/// The leaves are the M microbatches of a global batch, in order. Level by level, neighbours are
/// added in pairs, and an odd one at the end is carried up unchanged: node (level, i) covers the
/// leaves i·2^level ..< min((i + 1)·2^level, M). So 8 leaves are summed as
/// ((0+1)+(2+3))+((4+5)+(6+7)), 6 as ((0+1)+(2+3))+(4+5), and 5 as ((0+1)+(2+3))+4.
///
/// A rank owns a contiguous run of leaves and adds the subtrees that lie wholly inside it
/// (``segments(of:)``); what spans ranks is added afterwards, in the same tree. Every addition of
/// the tree thus happens exactly once with the same two operands, whoever performs it: the sum is
/// bitwise independent of the number of ranks.
public struct ReductionTree: Sendable, Equatable {
  /// A subtree: the pair of its level (0: a single leaf) and its place from the left there.
  public struct Node: Sendable, Hashable {
    /// The number of pairings below it.
    public let level: Int
    /// Its place within the level, from the left.
    public let index: Int

    /// Makes the node (level, index).
    public init(level: Int, index: Int) {
      self.level = level
      self.index = index
    }
  }

  /// The number of leaves, M.
  public let leafCount: Int

  /// Makes the tree over `leafCount` leaves.
  ///
  /// - Precondition: `leafCount` is positive.
  public init(leafCount: Int) {
    precondition(leafCount > 0, "a reduction tree needs at least one leaf")
    self.leafCount = leafCount
  }

  /// The node that covers every leaf.
  public var root: Node { segments(of: 0..<leafCount)[0] }

  /// Returns the leaves that a node covers.
  ///
  /// - Parameter node: A node that covers at least one leaf.
  /// - Returns: A range that is not empty.
  public func leaves(of node: Node) -> Range<Int> {
    let first = node.index << node.level
    precondition(first < leafCount, "the node lies outside the reduction tree")
    return first..<min((node.index + 1) << node.level, leafCount)
  }

  /// Returns the run of leaves of every rank: contiguous, in rank order, as equal as possible.
  ///
  /// Rank r of p owns floor(r·M/p) ..< floor((r + 1)·M/p).
  ///
  /// - Parameter worldSize: The number of ranks, 1 … `leafCount`; check a user's number with
  ///   ``validate(worldSize:)`` first.
  /// - Returns: One range a rank.
  public func ownership(worldSize: Int) -> [Range<Int>] {
    precondition(
      worldSize > 0 && worldSize <= leafCount, "every rank must own at least one microbatch")
    return (0..<worldSize).map { rank in
      rank * leafCount / worldSize..<(rank + 1) * leafCount / worldSize
    }
  }

  /// Returns the fewest nodes that together cover exactly a run of leaves, left to right.
  ///
  /// They are the maximal subtrees inside the run; one if the run is a subtree. A node that was
  /// carried up unchanged is named by the lowest of its levels.
  ///
  /// - Parameter run: A range within 0 ..< `leafCount`; an empty one has no nodes.
  /// - Returns: The nodes, left to right.
  public func segments(of run: Range<Int>) -> [Node] {
    precondition(
      run.lowerBound >= 0 && run.upperBound <= leafCount, "the run lies outside the reduction tree")
    var nodes: [Node] = []
    var first = run.lowerBound
    while first < run.upperBound {
      var node = Node(level: 0, index: first)
      while let parent = parentStarting(at: first, above: node),
        leaves(of: parent).upperBound <= run.upperBound
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

/// A number of ranks that cannot share the microbatches.
public struct WorldSizeError: Error, CustomStringConvertible, Equatable {
  /// One sentence: the two numbers and what to change.
  public let description: String

  /// Makes an error from its sentence.
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
