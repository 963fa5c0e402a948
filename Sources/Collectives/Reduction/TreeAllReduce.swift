/// An all-reduce of small vectors over all microbatches, bitwise identical on every rank.
///
/// It serves batch-norm statistics and losses. Every rank contributes one vector per microbatch that it owns, and first
/// adds those that form subtrees. Then peers exchange partial sums (``PeerReduction``). The flat variant sends the sums of
/// every rank to every other rank. With block placement on several hosts the variant is hierarchical: ranks send to their
/// host leader, and host leaders exchange, so one partial sum per host crosses the network. All additions follow one
/// tree, so the result is bitwise independent of the number of ranks and hosts.
///
/// A reduction is split into a start and a finish. Work that does not need the result runs in between, while the messages
/// are in flight.
public final class TreeAllReduce {
  /// The order of all additions.
  public let tree: ReductionTree
  /// The microbatches that this rank owns.
  public let ownedLeaves: Range<Int>
  /// The maximum length of a vector.
  public let maximumElementCount: Int

  /// How a rank exchanges its partial sums.
  private enum Role {
    /// Exchanges with all ranks.
    case flat(PeerReduction)
    /// Receives the sums of its host's ranks, exchanges with the other host leaders, and sends the result to its host.
    case leader(host: PeerReduction, leaders: PeerReduction)
    /// Sends its sums to its host leader, which returns the result.
    case member(leader: Int)
  }

  private let communicator: any Communicator
  private let local: ReductionSchedule
  private let role: Role
  private let tag: Int
  private let requests: any RequestSet
  // The vectors of the peer reductions, concatenated; at a member, its own sums and then the result.
  private let vectors: UnsafeMutablePointer<Double>
  private var startedCount: Int?

  /// Plans the reduction and allocates its buffers; does not communicate.
  ///
  /// Every rank must pass equal arguments.
  ///
  /// - Parameters:
  ///   - tree: The tree over all microbatches, with at least as many leaves as there are ranks.
  ///   - communicator: The ranks; every reduction uses it.
  ///   - maximumElementCount: The maximum length of a vector.
  ///   - tag: The tag of all messages; reductions in flight at the same time need different tags.
  public init(
    tree: ReductionTree, communicator: any Communicator, maximumElementCount: Int, tag: Int = 0
  ) {
    precondition(maximumElementCount >= 0, "the length of a vector cannot be negative")
    let (rank, worldSize) = (communicator.rank, communicator.worldSize)
    let leafRanges = tree.leafRanges(worldSize: worldSize)
    self.tree = tree
    self.communicator = communicator
    self.maximumElementCount = maximumElementCount
    self.tag = tag
    ownedLeaves = leafRanges[rank]
    local = ReductionSchedule(tree: tree, leaves: ownedLeaves)
    let vectorCount: Int
    if let size = RankPlacement.uniformRanksPerHost(communicator.hostOfRank) {
      let leaderRanks = Array(stride(from: 0, to: worldSize, by: size))
      let leader = rank / size * size
      if rank == leader {
        let host = PeerReduction(
          peers: Array(leader..<leader + size), index: 0, leafRanges: leafRanges[leader..<leader + size], of: tree,
          firstVector: 0)
        let hostLeafRanges = leaderRanks.map {
          leafRanges[$0].lowerBound..<leafRanges[$0 + size - 1].upperBound
        }
        let leaders = PeerReduction(
          peers: leaderRanks, index: leader / size, leafRanges: hostLeafRanges[...], of: tree,
          firstVector: host.schedule.arrayCount)
        role = .leader(host: host, leaders: leaders)
        vectorCount = host.schedule.arrayCount + leaders.schedule.arrayCount
      } else {
        role = .member(leader: leader)
        vectorCount = local.subtrees.count + 1
      }
    } else {
      let all = PeerReduction(
        peers: Array(0..<worldSize), index: rank, leafRanges: leafRanges[...], of: tree, firstVector: 0)
      role = .flat(all)
      vectorCount = all.schedule.arrayCount
    }
    requests = communicator.makeRequestSet(capacity: 2 * (worldSize - 1))
    vectors = .allocate(capacity: max(1, vectorCount * maximumElementCount))
    vectors.initialize(repeating: 0, count: max(1, vectorCount * maximumElementCount))
  }

  deinit { vectors.deallocate() }

  /// Collective: starts to sum one vector per microbatch over all microbatches of all ranks.
  ///
  /// Every rank passes an equal `count`. A single rank sends nothing. A host leader blocks until the sums of its host have
  /// arrived, so that its message to other leaders does not queue after later messages. Other ranks do not block. Allocates
  /// nothing. ``finish(into:)`` must follow before the next start.
  ///
  /// - Parameters:
  ///   - leaves: The vectors of the owned microbatches, concatenated; overwritten.
  ///   - count: The length of one vector, at most `maximumElementCount`.
  /// - Throws: ``CommunicationError`` if communication fails.
  public func start(_ leaves: UnsafeMutablePointer<Double>, count: Int) throws {
    precondition(
      count >= 0 && count <= maximumElementCount,
      "the vector must not be longer than the maximum length of this reduction")
    precondition(startedCount == nil, "a reduction must be finished before the next one starts")
    startedCount = count
    local.apply(to: leaves, stride: count, elements: 0..<count)
    switch role {
    case .flat(let all):
      copySums(local, of: leaves, to: all.ownVectors(vectors, stride: count), count: count)
      try all.receive(into: vectors, count: count, requests, tag: tag)
      try all.send(from: vectors, count: count, requests, tag: tag)
    case .leader(let host, let leaders):
      copySums(local, of: leaves, to: host.ownVectors(vectors, stride: count), count: count)
      try host.receive(into: vectors, count: count, requests, tag: tag)
      try communicator.wait(for: requests)
      host.reduce(vectors, count: count)
      copySums(
        host.schedule, of: host.allVectors(vectors, stride: count), to: leaders.ownVectors(vectors, stride: count),
        count: count)
      try leaders.receive(into: vectors, count: count, requests, tag: tag)
      try leaders.send(from: vectors, count: count, requests, tag: tag)
    case .member(let leader):
      copySums(local, of: leaves, to: vectors, count: count)
      let sums = local.subtrees.count * count
      try requests.receive(into: vectors + sums, count: count, from: leader, tag: tag)
      try requests.send(vectors, count: sums, to: leader, tag: tag)
    }
  }

  /// Collective: blocks until the partial sums of the peers have arrived, and adds them.
  ///
  /// - Parameter result: Memory for one vector; may be the start of `leaves`.
  /// - Throws: ``CommunicationError`` if communication fails.
  public func finish(into result: UnsafeMutablePointer<Double>) throws {
    guard let count = startedCount else { preconditionFailure("no reduction has been started") }
    startedCount = nil
    try communicator.wait(for: requests)
    switch role {
    case .flat(let all):
      all.reduce(vectors, count: count)
      result.update(from: all.allVectors(vectors, stride: count), count: count)
    case .leader(let host, let leaders):
      leaders.reduce(vectors, count: count)
      let total = leaders.allVectors(vectors, stride: count)
      for member in host.peers where member != communicator.rank {
        try requests.send(total, count: count, to: member, tag: tag)
      }
      result.update(from: total, count: count)
      try communicator.wait(for: requests)
    case .member:
      result.update(from: vectors + local.subtrees.count * count, count: count)
    }
  }

  /// Collective: sums one vector per microbatch over all microbatches of all ranks; blocks until the result is complete.
  ///
  /// - Parameters:
  ///   - leaves: The vectors of the owned microbatches, concatenated; overwritten.
  ///   - count: The length of one vector, at most `maximumElementCount`; equal on all ranks.
  ///   - result: Memory for one vector; may be the start of `leaves`.
  /// - Throws: ``CommunicationError`` if communication fails.
  public func allReduce(
    _ leaves: UnsafeMutablePointer<Double>, count: Int, into result: UnsafeMutablePointer<Double>
  ) throws {
    try start(leaves, count: count)
    try finish(into: result)
  }

  /// Copies the sums that a schedule has formed in its vectors, and concatenates them.
  private func copySums(
    _ schedule: ReductionSchedule, of vectors: UnsafePointer<Double>, to target: UnsafeMutablePointer<Double>,
    count: Int
  ) {
    for (i, position) in schedule.resultPositions.enumerated() {
      (target + i * count).update(from: vectors + position * count, count: count)
    }
  }
}

/// A set of peers that exchange partial sums and reduce them in tree order: one stage of a ``TreeAllReduce``.
struct PeerReduction {
  /// The ranks that contribute sums, in the order of their microbatches.
  let peers: [Int]
  /// The additions that merge the vectors of all peers.
  let schedule: ReductionSchedule

  // The offset of this stage's vectors, in vectors; the number of vectors per peer, and their offsets in this stage.
  private let firstVector: Int
  private let counts: [Int]
  private let offsets: [Int]
  private let index: Int

  /// Plans the reduction.
  ///
  /// - Parameters:
  ///   - peers: The ranks that contribute sums.
  ///   - index: The index of this rank in `peers`.
  ///   - leafRanges: The microbatches of each peer; the ranges are adjacent.
  ///   - tree: The order of all additions.
  ///   - firstVector: The offset of this stage's vectors in memory, in vectors.
  init(peers: [Int], index: Int, leafRanges: ArraySlice<Range<Int>>, of tree: ReductionTree, firstVector: Int) {
    self.peers = peers
    self.index = index
    self.firstVector = firstVector
    let nodes = leafRanges.map { tree.maximalSubtrees(of: $0) }
    let counts = nodes.map(\.count)
    self.counts = counts
    offsets = counts.indices.map { counts[..<$0].reduce(0, +) }
    schedule = ReductionSchedule(merging: nodes.flatMap { $0 }, of: tree)
  }

  /// The address of all vectors of this stage, if each has `stride` elements; their sum is formed in the first.
  func allVectors(_ vectors: UnsafeMutablePointer<Double>, stride: Int) -> UnsafeMutablePointer<Double> {
    vectors + firstVector * stride
  }

  /// The address of this rank's own vectors.
  func ownVectors(_ vectors: UnsafeMutablePointer<Double>, stride: Int) -> UnsafeMutablePointer<Double> {
    allVectors(vectors, stride: stride) + offsets[index] * stride
  }

  /// Starts to receive the vectors of all other peers.
  func receive(
    into vectors: UnsafeMutablePointer<Double>, count: Int, _ requests: any RequestSet, tag: Int
  ) throws {
    let start = allVectors(vectors, stride: count)
    for (peer, rank) in peers.enumerated() where peer != index {
      try requests.receive(into: start + offsets[peer] * count, count: counts[peer] * count, from: rank, tag: tag)
    }
  }

  /// Starts to send this rank's own vectors to all other peers.
  func send(
    from vectors: UnsafeMutablePointer<Double>, count: Int, _ requests: any RequestSet, tag: Int
  ) throws {
    let own = ownVectors(vectors, stride: count)
    for distance in 1..<max(peers.count, 1) {
      // Every rank sends to its right neighbor first, so that not all ranks send to the same rank at once.
      let rank = peers[(index + distance) % peers.count]
      try requests.send(own, count: counts[index] * count, to: rank, tag: tag)
    }
  }

  /// Adds the vectors of all peers as far as the tree merges them.
  func reduce(_ vectors: UnsafeMutablePointer<Double>, count: Int) {
    schedule.apply(to: allVectors(vectors, stride: count), stride: count, elements: 0..<count)
  }
}
