/// The sum of a small vector over all microbatches, equal on every rank to the last bit.
///
/// For batch-norm partial sums and losses: every rank brings one vector per microbatch that it owns and adds those that
/// form subtrees. Then the ranks meet (``PeerReduction``): all of them at once, each sending its sums to every other;
/// or, where they fill several hosts evenly, those of a host with its first rank, and the first ranks with each other, so
/// that one partial sum a host crosses the network. Whoever meets adds in the order of the same tree, so the result is
/// bitwise independent of the number of ranks and hosts.
///
/// A reduction is started and finished by two calls, so that work which does not need its result can be done in between,
/// while the messages travel.
public final class TreeAllReduce {
  /// The order of all additions.
  public let tree: ReductionTree
  /// The microbatches that this rank owns.
  public let ownedLeaves: Range<Int>
  /// The longest vector that can be reduced.
  public let maximumElementCount: Int

  /// What a rank does with its sums.
  private enum Role {
    /// Meets all ranks.
    case equal(PeerReduction)
    /// Collects its host's sums, meets the other hosts' leaders, and hands the result out.
    case leader(PeerReduction, PeerReduction)
    /// Brings its sums to the leader, of whom it gets the result.
    case member(leader: Int)
  }

  private let communicator: any Communicator
  private let local: ReductionSchedule
  private let role: Role
  private let tag: Int
  private let messages: any RequestSet
  // The vectors of the meetings, one after another; a member's own sums, then the result.
  private let vectors: UnsafeMutablePointer<Double>
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
    let (rank, worldSize) = (communicator.rank, communicator.worldSize)
    let ownership = tree.ownership(worldSize: worldSize)
    self.tree = tree
    self.communicator = communicator
    self.maximumElementCount = maximumElementCount
    self.tag = tag
    ownedLeaves = ownership[rank]
    local = ReductionSchedule(tree: tree, leaves: ownedLeaves)
    let vectorCount: Int
    if let size = HostLayout.ranksPerHost(communicator.hosts) {
      let leaders = Array(stride(from: 0, to: worldSize, by: size))
      let first = rank / size * size
      if rank == first {
        let host = PeerReduction(
          peers: Array(first..<first + size), place: 0, runs: ownership[first..<first + size], of: tree, firstVector: 0)
        let runs = leaders.map { ownership[$0].lowerBound..<ownership[$0 + size - 1].upperBound }
        let hosts = PeerReduction(
          peers: leaders, place: first / size, runs: runs[...], of: tree,
          firstVector: host.schedule.arrayCount)
        role = .leader(host, hosts)
        vectorCount = host.schedule.arrayCount + hosts.schedule.arrayCount
      } else {
        role = .member(leader: first)
        vectorCount = local.segments.count + 1
      }
    } else {
      let meeting = PeerReduction(
        peers: Array(0..<worldSize), place: rank, runs: ownership[...], of: tree, firstVector: 0)
      role = .equal(meeting)
      vectorCount = meeting.schedule.arrayCount
    }
    messages = communicator.makeRequestSet(capacity: 2 * (worldSize - 1))
    vectors = .allocate(capacity: max(1, vectorCount * maximumElementCount))
    vectors.initialize(repeating: 0, count: max(1, vectorCount * maximumElementCount))
  }

  deinit { vectors.deallocate() }

  /// Starts to sum one vector per microbatch over all microbatches of all ranks.
  ///
  /// Every rank calls it, in the same order, with equal `count`. With one rank nothing is sent. The first rank of a host
  /// waits for those beside it, which are at the same place: its message to the other hosts must not queue behind what is
  /// sent next. Nothing is allocated. ``finish(into:)`` must follow before the next start.
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
    switch role {
    case .equal(let meeting):
      copySums(local, of: leaves, to: meeting.own(vectors, stride: count), count: count)
      try meeting.receive(into: vectors, count: count, messages, tag: tag)
      try meeting.send(from: vectors, count: count, messages, tag: tag)
    case .leader(let host, let hosts):
      copySums(local, of: leaves, to: host.own(vectors, stride: count), count: count)
      try host.receive(into: vectors, count: count, messages, tag: tag)
      try communicator.wait(for: messages)
      host.combine(vectors, count: count)
      copySums(
        host.schedule, of: host.start(vectors, stride: count), to: hosts.own(vectors, stride: count), count: count)
      try hosts.receive(into: vectors, count: count, messages, tag: tag)
      try hosts.send(from: vectors, count: count, messages, tag: tag)
    case .member(let leader):
      copySums(local, of: leaves, to: vectors, count: count)
      let sums = local.segments.count * count
      try messages.receive(into: vectors + sums, count: count, from: leader, tag: tag)
      try messages.send(vectors, count: sums, to: leader, tag: tag)
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
    switch role {
    case .equal(let meeting):
      meeting.combine(vectors, count: count)
      result.update(from: meeting.start(vectors, stride: count), count: count)
    case .leader(let host, let hosts):
      hosts.combine(vectors, count: count)
      let total = hosts.start(vectors, stride: count)
      for member in host.peers where member != communicator.rank {
        try messages.send(total, count: count, to: member, tag: tag)
      }
      result.update(from: total, count: count)
      try communicator.wait(for: messages)
    case .member:
      result.update(from: vectors + local.segments.count * count, count: count)
    }
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

  /// Copies the sums that a schedule has left among its vectors, one after another.
  private func copySums(
    _ schedule: ReductionSchedule, of vectors: UnsafePointer<Double>, to target: UnsafeMutablePointer<Double>,
    count: Int
  ) {
    for (i, position) in schedule.resultPositions.enumerated() {
      (target + i * count).update(from: vectors + position * count, count: count)
    }
  }
}

/// Some ranks that bring sums of runs of microbatches, and how these are joined: a part of a ``TreeAllReduce``.
struct PeerReduction {
  /// Who brings sums, in the order of their microbatches.
  let peers: [Int]
  /// How the vectors are joined, peer after peer.
  let schedule: ReductionSchedule

  // Where the vectors of this meeting begin among all, how many each peer brings, and where these begin.
  private let firstVector: Int
  private let counts: [Int]
  private let firsts: [Int]
  private let place: Int

  /// Plans a meeting.
  ///
  /// - Parameters:
  ///   - peers: Who brings sums.
  ///   - place: This rank's place among them.
  ///   - runs: The microbatches of each, one run after another.
  ///   - tree: The order of all additions.
  ///   - firstVector: Where the vectors of this meeting begin in memory, in vectors.
  init(peers: [Int], place: Int, runs: ArraySlice<Range<Int>>, of tree: ReductionTree, firstVector: Int) {
    self.peers = peers
    self.place = place
    self.firstVector = firstVector
    let nodes = runs.map { tree.segments(of: $0) }
    let counts = nodes.map(\.count)
    self.counts = counts
    firsts = counts.indices.map { counts[..<$0].reduce(0, +) }
    schedule = ReductionSchedule(joining: nodes.flatMap { $0 }, of: tree)
  }

  /// Where the vectors of this meeting begin, if each has `stride` elements; the sum of all ends up there.
  func start(_ vectors: UnsafeMutablePointer<Double>, stride: Int) -> UnsafeMutablePointer<Double> {
    vectors + firstVector * stride
  }

  /// Where this rank's own vectors begin.
  func own(_ vectors: UnsafeMutablePointer<Double>, stride: Int) -> UnsafeMutablePointer<Double> {
    start(vectors, stride: stride) + firsts[place] * stride
  }

  /// Starts to receive what the others bring.
  func receive(
    into vectors: UnsafeMutablePointer<Double>, count: Int, _ messages: any RequestSet, tag: Int
  ) throws {
    let start = start(vectors, stride: count)
    for (peer, rank) in peers.enumerated() where peer != place {
      try messages.receive(into: start + firsts[peer] * count, count: counts[peer] * count, from: rank, tag: tag)
    }
  }

  /// Starts to send this rank's own vectors to all others.
  func send(
    from vectors: UnsafeMutablePointer<Double>, count: Int, _ messages: any RequestSet, tag: Int
  ) throws {
    let own = own(vectors, stride: count)
    for distance in 1..<max(peers.count, 1) {
      // Every rank begins with its right neighbour, so that not all of them send to the first at once.
      let rank = peers[(place + distance) % peers.count]
      try messages.send(own, count: counts[place] * count, to: rank, tag: tag)
    }
  }

  /// Adds all vectors as far as the tree joins them.
  func combine(_ vectors: UnsafeMutablePointer<Double>, count: Int) {
    schedule.combine(start(vectors, stride: count), stride: count, elements: 0..<count)
  }
}
