import Collectives
import Tensors
import Tracing

/// The state machine of one bucket: reduce-scatter of its partial sums, then all-gather of the owners' results.
///
/// ``advance()`` moves it to the next state when all messages of a stage are complete. Nothing blocks here.
final class BucketReducer {
  /// The progress of a bucket within a step.
  enum State: Equatable {
    /// The backward pass is still computing gradients of the bucket.
    case accumulating
    /// The partial sums of a stage are in flight.
    case reducing(stage: Int)
    /// All partial sums of this rank's shard have arrived.
    case reduced
    /// The owners' results of a stage are in flight.
    case gathering(stage: Int)
    /// The target is complete on this rank.
    case idle
  }

  /// The bucket's elements.
  let elements: Range<Int>
  /// The elements that this rank owns.
  let ownedShard: Range<Int>
  private(set) var state = State.idle
  private var missingCount = 0

  private let stages: [ReductionStage]
  private let subtreeSums: [UnsafeMutablePointer<Float>]
  private let target: UnsafeMutablePointer<Float>
  private let requests: any RequestSet
  private let labels: BucketTraceLabels
  private var startTime: UInt64 = 0
  private let firstTag: Int
  private let tagsPerStage: Int
  /// The elements that each stage divides, and at the end the owned shard.
  private let ranges: [Range<Int>]
  /// For every stage, the shard of each peer.
  private let shards: [[Range<Int>]]
  private let received: AlignedBuffer<Float>
  /// For every stage, the address of each partial sum of this rank's shard.
  private let partials: [UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>]

  /// The number of tags per bucket, the same on every rank.
  ///
  /// Each of two stages has one tag for results, and one for each partial sum that a rank may contribute.
  static func tagCount(_ topology: ReductionTopology) -> Int { 2 * tagsPerStage(topology) }

  private static func tagsPerStage(_ topology: ReductionTopology) -> Int {
    1 + topology.maximumPartialCount
  }

  /// Plans the reduction of bucket number `index`.
  ///
  /// - Parameters:
  ///   - index: The bucket's number.
  ///   - elements: The bucket's elements.
  ///   - topology: The stages of all ranks.
  ///   - subtreeSums: The flat gradients of this rank's subtrees; the owned shard of the first receives the total.
  ///   - target: The flat buffer that is all-gathered from its owned shards.
  ///   - communicator: The ranks.
  ///   - firstTag: The first of ``tagCount(_:)`` tags.
  ///   - tracer: Records the reduction and the all-gather. If `nil`, nothing is traced.
  init(
    index: Int, elements: Range<Int>, topology: ReductionTopology,
    subtreeSums: [UnsafeMutablePointer<Float>], target: UnsafeMutablePointer<Float>,
    communicator: any Communicator, firstTag: Int, tracer: Tracer?
  ) {
    labels = BucketTraceLabels(index, tracer)
    self.elements = elements
    let stages = topology.stages(rank: communicator.rank)
    self.stages = stages
    self.subtreeSums = subtreeSums
    self.target = target
    self.firstTag = firstTag
    tagsPerStage = Self.tagsPerStage(topology)
    var ranges = [elements]
    var shards: [[Range<Int>]] = []
    for stage in stages {
      shards.append(stage.shards[index])
      ranges.append(stage.shards[index][stage.index])
    }
    self.ranges = ranges
    self.shards = shards
    ownedShard = ranges[ranges.count - 1]
    let receivedCounts = stages.indices.map { s in
      (stages[s].schedule.arrayCount - stages[s].partialCounts[stages[s].index])
        * ranges[s + 1].count
    }
    received = AlignedBuffer(count: receivedCounts.reduce(0, +))
    var next = received.pointer
    var partials: [UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>] = []
    for (s, stage) in stages.enumerated() {
      let shard = ranges[s + 1]
      let addresses = UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>.allocate(
        capacity: stage.schedule.arrayCount)
      var position = 0
      for (peer, count) in stage.partialCounts.enumerated() {
        for partial in 0..<count {
          if peer != stage.index {
            addresses.initializeElement(at: position, to: next)
            next += shard.count
          } else if s == 0 {
            addresses.initializeElement(at: position, to: subtreeSums[partial] + shard.lowerBound)
          } else {
            let before = partials[s - 1][stages[s - 1].schedule.resultPositions[partial]]
            addresses.initializeElement(
              at: position, to: before + (shard.lowerBound - ranges[s].lowerBound))
          }
          position += 1
        }
      }
      partials.append(addresses)
    }
    self.partials = partials
    let capacities = zip(stages, shards).map { stage, shards in
      let own = stage.partialCounts[stage.index]
      let messageCount = max(
        stage.schedule.arrayCount - own + own * (stage.peers.count - 1), 2 * (stage.peers.count - 1))
      return messageCount * SendPriority.pieceCount(4 * (shards.map(\.count).max() ?? 0))
    }
    requests = communicator.makeRequestSet(capacity: capacities.max() ?? 0)
  }

  deinit { for addresses in partials { addresses.deallocate() } }

  /// The bytes of this object's buffers.
  var byteCount: Int { received.byteCount }

  /// Prepares for the backward pass of a step, which has computed no gradient yet.
  func beginBackward() {
    precondition(state == .idle, "a bucket must be idle before the next backward pass")
    state = .accumulating
    missingCount = elements.count
  }

  /// Marks some of the bucket's gradients as complete; the last of them starts the reduce-scatter.
  func gradientReady(_ ready: Range<Int>) throws {
    missingCount -= ready.clamped(to: elements).count
    guard missingCount == 0, state == .accumulating else { return }
    if stages.isEmpty {
      state = .reduced
    } else {
      startTime = labels.now()
      try startReduction(stage: 0)
    }
  }

  /// Advances through as many states as completed messages allow; does not block.
  ///
  /// - Throws: `CommunicationError` if a message has failed.
  func advance() throws {
    while true {
      switch state {
      case .accumulating, .reduced, .idle: return
      case .reducing(let stage):
        guard try requests.test() else { return }
        unpack(stage: stage)
        guard stage + 1 < stages.count else {
          state = .reduced
          labels.recordReduction(since: startTime)
          return
        }
        reduce(0..<ranges[stage + 1].count, stage: stage)
        try startReduction(stage: stage + 1)
      case .gathering(let stage):
        guard try requests.test() else { return }
        guard stage > 0 else {
          state = .idle
          labels.recordGather(since: startTime)
          return
        }
        try startAllGather(stage: stage - 1)
      }
    }
  }

  /// Adds the partial sums of some elements of this rank's shard, in tree order, into the first subtree sum.
  ///
  /// Several threads may call it for disjoint elements.
  func finishReduction(_ range: Range<Int>) {
    guard let last = stages.indices.last, let result = partials[last].first, !range.isEmpty else {
      return
    }
    let offset = range.lowerBound - ownedShard.lowerBound
    reduce(offset..<offset + range.count, stage: last)
    let total = subtreeSums[0] + range.lowerBound
    if total != result + offset { total.update(from: result + offset, count: range.count) }
  }

  /// Starts the all-gather of the target's shards; this rank's must be complete.
  func startAllGather() throws {
    precondition(state == .reduced, "a bucket is gathered once per step, after its reduction")
    if let last = stages.indices.last {
      startTime = labels.now()
      try startAllGather(stage: last)
    } else {
      state = .idle
    }
  }

  /// Ends the step for a bucket whose result is not used.
  func discard() {
    precondition(state == .reduced, "a bucket is discarded after its reduction")
    state = .idle
  }

  private func reduce(_ range: Range<Int>, stage: Int) {
    guard let arrays = partials[stage].baseAddress else { return }
    stages[stage].schedule.apply(to: UnsafePointer(arrays), elements: range)
  }

  /// Starts the reduce-scatter of a stage: sends every peer its shard of this rank's partial sums.
  private func startReduction(stage s: Int) throws {
    let stage = stages[s]
    let priority = priority(stage: s, .partialSum)
    state = .reducing(stage: s)
    var position = 0
    for (peer, rank) in stage.peers.enumerated() {
      for partial in 0..<stage.partialCounts[peer] {
        if peer != stage.index {
          let (target, count) = (partials[s][position], ranges[s + 1].count)
          let tag = tag(stage: s, 1 + partial)
          if stage.isRounded[position] {
            try requests.receive(
              into: BFloat16.stagingAddress(target, count: count), count: count, from: rank, tag: tag,
              priority: priority)
          } else {
            try requests.receive(into: target, count: count, from: rank, tag: tag, priority: priority)
          }
        }
        position += 1
      }
    }
    let firstOwn = stage.partialCounts[..<stage.index].reduce(0, +)
    for distance in 1..<stage.peers.count {
      // Every rank sends to its right neighbor first, so that not all ranks send to the same rank at once.
      let peer = (stage.index + distance) % stage.peers.count
      let shard = shards[s][peer]
      for partial in 0..<stage.partialCounts[stage.index] {
        let source =
          s == 0
          ? subtreeSums[partial] + shard.lowerBound
          : partials[s - 1][stages[s - 1].schedule.resultPositions[partial]]
            + (shard.lowerBound - ranges[s].lowerBound)
        let (rank, tag) = (stage.peers[peer], tag(stage: s, 1 + partial))
        if stage.isRounded[firstOwn + partial] {
          try requests.send(
            BFloat16.pack(source, count: shard.count), count: shard.count, to: rank, tag: tag, priority: priority)
        } else {
          try requests.send(source, count: shard.count, to: rank, tag: tag, priority: priority)
        }
      }
    }
  }

  /// Expands the partial sums that arrived as bfloat16.
  private func unpack(stage s: Int) {
    let stage = stages[s]
    var position = 0
    for (peer, count) in stage.partialCounts.enumerated() {
      for _ in 0..<count {
        if peer != stage.index && stage.isRounded[position] {
          BFloat16.unpack(partials[s][position], count: ranges[s + 1].count)
        }
        position += 1
      }
    }
  }

  private func startAllGather(stage s: Int) throws {
    let stage = stages[s]
    let priority = priority(stage: s, .result)
    state = .gathering(stage: s)
    for (peer, rank) in stage.peers.enumerated() where peer != stage.index {
      let shard = shards[s][peer]
      try requests.receive(
        into: target + shard.lowerBound, count: shard.count, from: rank, tag: tag(stage: s, 0), priority: priority)
    }
    let own = ranges[s + 1]
    for distance in 1..<stage.peers.count {
      let peer = (stage.index + distance) % stage.peers.count
      try requests.send(
        target + own.lowerBound, count: own.count, to: stage.peers[peer], tag: tag(stage: s, 0), priority: priority)
    }
  }

  /// The priority of a stage's messages.
  ///
  /// The last stage is the one between hosts, if there are several. A rank starts its receives without waiting for queued
  /// sends, as ``SendPriority`` demands: the stages before it queue none.
  private func priority(stage: Int, _ priority: SendPriority) -> SendPriority {
    stage == stages.count - 1 ? priority : .immediate
  }

  private func tag(stage: Int, _ message: Int) -> Int {
    firstTag + stage * tagsPerStage + message
  }
}

/// The trace labels of one bucket's reduction and all-gather.
///
/// A span ends when the rank polls and finds the last message complete, which may be later than its arrival.
private struct BucketTraceLabels {
  private let tracer: Tracer?
  private let reduction: TraceLabel
  private let gather: TraceLabel

  /// Creates the labels of bucket number `index`.
  init(_ index: Int, _ tracer: Tracer?) {
    self.tracer = tracer
    reduction = tracer.label("reduce bucket \(index)", "exchange")
    gather = tracer.label("gather bucket \(index)", "exchange")
  }

  /// Reads the clock if tracing is on.
  func now() -> UInt64 { tracer.now() }

  /// Records a reduce-scatter that ends now.
  func recordReduction(since start: UInt64) { record(reduction, start) }

  /// Records an all-gather that ends now.
  func recordGather(since start: UInt64) { record(gather, start) }

  private func record(_ label: TraceLabel, _ start: UInt64) {
    if let tracer { tracer.record(label, track: tracer.communicationTrack, since: start) }
  }
}
