/// The sum of a small vector over all microbatches, equal on every rank to the last bit.
///
/// For batch-norm partial sums and losses: every rank brings one vector per microbatch that it
/// owns. It adds those that form subtrees, one `allGather` gives every rank everybody's sums, and
/// each rank finishes the same tree in the same order. A rank sends at most
/// 2·log2(M) vectors. The result is bitwise independent of the number of ranks.
public final class TreeReduction {
  /// The order of all additions.
  public let tree: ReductionTree
  /// The microbatches that this rank owns.
  public let ownedLeaves: Range<Int>
  /// The longest vector that can be reduced.
  public let maximumElementCount: Int

  private let communicator: any Communicator
  private let local: ReductionSchedule
  private let top: ReductionSchedule
  private let segmentCounts: [Int]
  private let send: UnsafeMutablePointer<Double>
  private let gathered: UnsafeMutablePointer<Double>
  private var byteCounts: [Int]

  /// Plans the reduction and allocates its buffers.
  ///
  /// Every rank calls it with equal arguments; it does not communicate.
  ///
  /// - Parameters:
  ///   - tree: The tree over all microbatches; it has at least as many leaves as there are ranks.
  ///   - communicator: The ranks; used again by every reduction.
  ///   - maximumElementCount: The longest vector that will be reduced.
  public init(tree: ReductionTree, communicator: any Communicator, maximumElementCount: Int) {
    precondition(maximumElementCount >= 0, "a vector has no negative length")
    let ownership = tree.ownership(worldSize: communicator.worldSize)
    self.tree = tree
    self.communicator = communicator
    self.maximumElementCount = maximumElementCount
    ownedLeaves = ownership[communicator.rank]
    local = ReductionSchedule(tree: tree, leaves: ownedLeaves)
    top = ReductionSchedule(topOf: tree, worldSize: communicator.worldSize)
    segmentCounts = ownership.map { tree.segments(of: $0).count }
    byteCounts = segmentCounts
    send = .allocate(capacity: max(1, local.segments.count * maximumElementCount))
    gathered = .allocate(capacity: max(1, top.arrayCount * maximumElementCount))
  }

  deinit {
    send.deallocate()
    gathered.deallocate()
  }

  /// Sums one vector per microbatch over all microbatches of all ranks.
  ///
  /// Every rank calls it, in the same order, with equal `count`. With one rank nothing is sent.
  /// Nothing is allocated.
  ///
  /// - Parameters:
  ///   - leaves: The vectors of the owned microbatches, one after another without gaps; spent
  ///     afterwards.
  ///   - count: The length of one vector, at most `maximumElementCount`.
  ///   - result: Room for one vector; may be the start of `leaves`.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func allReduce(
    _ leaves: UnsafeMutablePointer<Double>, count: Int, into result: UnsafeMutablePointer<Double>
  ) throws {
    precondition(
      count >= 0 && count <= maximumElementCount,
      "the vector is longer than this reduction was planned for")
    local.combine(leaves, stride: count, elements: 0..<count)
    guard communicator.worldSize > 1 else {
      copy(leaves, to: result, count: count)
      return
    }
    for segment in 0..<local.segments.count {
      copy(
        leaves + local.resultPositions[segment] * count, to: send + segment * count, count: count)
    }
    let vectorByteCount = count * MemoryLayout<Double>.stride
    for rank in 0..<segmentCounts.count { byteCounts[rank] = segmentCounts[rank] * vectorByteCount }
    try communicator.allGather(
      UnsafeRawBufferPointer(start: send, count: local.segments.count * vectorByteCount),
      into: UnsafeMutableRawBufferPointer(start: gathered, count: top.arrayCount * vectorByteCount),
      counts: byteCounts)
    top.combine(gathered, stride: count, elements: 0..<count)
    copy(gathered, to: result, count: count)
  }

  private func copy(
    _ source: UnsafePointer<Double>, to destination: UnsafeMutablePointer<Double>, count: Int
  ) {
    for i in 0..<count { destination[i] = source[i] }
  }
}
