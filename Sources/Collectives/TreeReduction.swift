/// The sum of a small vector over all microbatches, equal on every rank to the last bit.
///
/// For batch-norm partial sums and losses: every rank brings one vector per microbatch that it
/// owns. It adds those that form subtrees and sends the sums to every other rank; each rank finishes
/// the same tree in the same order. A rank sends at most 2·log2(M) vectors to each other rank. The
/// result is bitwise independent of the number of ranks.
///
/// A reduction is started and finished by two calls, so that work which does not need its result can
/// be done in between, while the messages travel.
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
  private let firstSegments: [Int]
  private let tag: Int
  private let messages: any MessageGroup
  private let gathered: UnsafeMutablePointer<Double>
  private var startedCount: Int?

  /// Plans the reduction and allocates its buffers.
  ///
  /// Every rank calls it with equal arguments; it does not communicate.
  ///
  /// - Parameters:
  ///   - tree: The tree over all microbatches; it has at least as many leaves as there are ranks.
  ///   - communicator: The ranks; used again by every reduction.
  ///   - maximumElementCount: The longest vector that will be reduced.
  ///   - tag: What its messages carry; reductions that are under way at the same time have different ones.
  public init(
    tree: ReductionTree, communicator: any Communicator, maximumElementCount: Int, tag: Int = 0
  ) {
    precondition(maximumElementCount >= 0, "a vector has no negative length")
    let worldSize = communicator.worldSize
    let ownership = tree.ownership(worldSize: worldSize)
    self.tree = tree
    self.communicator = communicator
    self.maximumElementCount = maximumElementCount
    self.tag = tag
    ownedLeaves = ownership[communicator.rank]
    local = ReductionSchedule(tree: tree, leaves: ownedLeaves)
    top = ReductionSchedule(topOf: tree, worldSize: worldSize)
    let segmentCounts = ownership.map { tree.segments(of: $0).count }
    self.segmentCounts = segmentCounts
    firstSegments = segmentCounts.indices.map { segmentCounts[..<$0].reduce(0, +) }
    messages = communicator.makeMessageGroup(capacity: 2 * (worldSize - 1))
    gathered = .allocate(capacity: max(1, top.arrayCount * maximumElementCount))
    gathered.initialize(repeating: 0, count: max(1, top.arrayCount * maximumElementCount))
  }

  deinit { gathered.deallocate() }

  /// Starts to sum one vector per microbatch over all microbatches of all ranks.
  ///
  /// Every rank calls it, in the same order, with equal `count`. With one rank nothing is sent.
  /// Nothing is allocated. ``finish(into:)`` must follow before the next start.
  ///
  /// - Parameters:
  ///   - leaves: The vectors of the owned microbatches, one after another without gaps; spent
  ///     afterwards.
  ///   - count: The length of one vector, at most `maximumElementCount`.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func start(_ leaves: UnsafeMutablePointer<Double>, count: Int) throws {
    precondition(
      count >= 0 && count <= maximumElementCount,
      "the vector is longer than this reduction was planned for")
    precondition(startedCount == nil, "a reduction must be finished before the next one starts")
    startedCount = count
    local.combine(leaves, stride: count, elements: 0..<count)
    let rank = communicator.rank
    let own = gathered + firstSegments[rank] * count
    for segment in 0..<local.segments.count {
      (own + segment * count).update(
        from: leaves + local.resultPositions[segment] * count, count: count)
    }
    for other in 0..<communicator.worldSize where other != rank {
      try messages.receive(
        into: gathered + firstSegments[other] * count, count: segmentCounts[other] * count,
        from: other, tag: tag)
    }
    for distance in 1..<max(communicator.worldSize, 1) {
      // Every rank begins with its right neighbour, so that not all of them send to rank 0 first.
      let other = (rank + distance) % communicator.worldSize
      try messages.send(own, count: segmentCounts[rank] * count, to: other, tag: tag)
    }
  }

  /// Waits for the other ranks' sums and adds them.
  ///
  /// - Parameter result: Room for one vector; may be the start of `leaves`.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func finish(into result: UnsafeMutablePointer<Double>) throws {
    guard let count = startedCount else { preconditionFailure("no reduction has been started") }
    startedCount = nil
    try communicator.wait(for: messages)
    top.combine(gathered, stride: count, elements: 0..<count)
    result.update(from: gathered, count: count)
  }

  /// Sums one vector per microbatch over all microbatches of all ranks: start and finish in one.
  ///
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func allReduce(
    _ leaves: UnsafeMutablePointer<Double>, count: Int, into result: UnsafeMutablePointer<Double>
  ) throws {
    try start(leaves, count: count)
    try finish(into: result)
  }
}
