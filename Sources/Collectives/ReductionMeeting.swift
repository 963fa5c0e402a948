/// Some ranks that bring sums of runs of microbatches, and how these are joined: a part of a ``TreeReduction``.
struct ReductionMeeting {
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
    into vectors: UnsafeMutablePointer<Double>, count: Int, _ messages: any MessageGroup, tag: Int
  ) throws {
    let start = start(vectors, stride: count)
    for (peer, rank) in peers.enumerated() where peer != place {
      try messages.receive(into: start + firsts[peer] * count, count: counts[peer] * count, from: rank, tag: tag)
    }
  }

  /// Starts to send this rank's own vectors to all others.
  func send(
    from vectors: UnsafeMutablePointer<Double>, count: Int, _ messages: any MessageGroup, tag: Int
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
