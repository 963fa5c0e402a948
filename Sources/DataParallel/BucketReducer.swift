import Collectives
import Tensors
import Tracing

/// The exchange of one bucket: partial sums there, results back.
///
/// It is moved on by ``advance()`` from whichever message comes last; nothing waits here.
final class BucketReducer {
  /// How far a bucket is in this step.
  enum Phase: Equatable {
    /// Gradients of the bucket are still being computed.
    case filling
    /// The partial sums of a stage are on their way.
    case reducing(stage: Int)
    /// All partial sums of this rank's slice are here.
    case arrived
    /// This rank's slice is ready to be handed out.
    case held
    /// The owners' results of a stage are on their way back.
    case gathering(stage: Int)
    /// Everything is where it belongs.
    case complete
  }

  /// The bucket's elements.
  let elements: Range<Int>
  /// The elements that this rank owns.
  let ownedShard: Range<Int>
  private(set) var phase = Phase.complete
  private var missingCount = 0

  private let stages: [ReductionStage]
  private let segments: [UnsafeMutablePointer<Float>]
  private let target: UnsafeMutablePointer<Float>
  private let messages: any RequestSet
  private let spans: BucketTraceLabels
  private var began: UInt64 = 0
  private let firstTag: Int
  private let tagsPerStage: Int
  /// What each stage cuts, and what it cuts it into.
  private let ranges: [Range<Int>]
  private let shards: [[Range<Int>]]
  private let received: AlignedBuffer<Float>
  /// For every stage, where each partial sum of this rank's slice begins.
  private let partials: [UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>]

  /// The tags that a bucket needs: in each of two stages one for results, and one for each of the most partial sums that
  /// any rank brings; the same on every rank.
  static func tagCount(_ layout: ReductionTopology) -> Int { 2 * tagsPerStage(layout) }

  private static func tagsPerStage(_ layout: ReductionTopology) -> Int {
    1 + layout.maximumPartialCount
  }

  /// Plans the exchange of bucket number `index`.
  ///
  /// - Parameters:
  ///   - index: The bucket's number.
  ///   - elements: Its elements.
  ///   - layout: Who exchanges what.
  ///   - segments: The flat gradients of this rank's subtrees; the first one's own slice receives the total.
  ///   - target: The flat buffer whose slices the owners hand out.
  ///   - communicator: The ranks.
  ///   - firstTag: The first of ``tagCount(_:)`` tags.
  ///   - tracer: Records when the bucket is on its way.
  init(
    index: Int, elements: Range<Int>, layout: ReductionTopology,
    segments: [UnsafeMutablePointer<Float>], target: UnsafeMutablePointer<Float>,
    communicator: any Communicator, firstTag: Int, tracer: Tracer?
  ) {
    spans = BucketTraceLabels(index, tracer)
    self.elements = elements
    let stages = layout.stages(rank: communicator.rank)
    self.stages = stages
    self.segments = segments
    self.target = target
    self.firstTag = firstTag
    tagsPerStage = Self.tagsPerStage(layout)
    var ranges = [elements]
    var shards: [[Range<Int>]] = []
    for stage in stages {
      shards.append(stage.shards[index])
      ranges.append(stage.shards[index][stage.place])
    }
    self.ranges = ranges
    self.shards = shards
    ownedShard = ranges[ranges.count - 1]
    let receivedCounts = stages.indices.map { s in
      (stages[s].schedule.arrayCount - stages[s].partialCounts[stages[s].place])
        * ranges[s + 1].count
    }
    received = AlignedBuffer(count: receivedCounts.reduce(0, +))
    var next = received.pointer
    var partials: [UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>] = []
    for (s, stage) in stages.enumerated() {
      let shard = ranges[s + 1]
      let table = UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>.allocate(
        capacity: stage.schedule.arrayCount)
      var position = 0
      for (peer, count) in stage.partialCounts.enumerated() {
        for partial in 0..<count {
          if peer != stage.place {
            table.initializeElement(at: position, to: next)
            next += shard.count
          } else if s == 0 {
            table.initializeElement(at: position, to: segments[partial] + shard.lowerBound)
          } else {
            let before = partials[s - 1][stages[s - 1].schedule.resultPositions[partial]]
            table.initializeElement(
              at: position, to: before + (shard.lowerBound - ranges[s].lowerBound))
          }
          position += 1
        }
      }
      partials.append(table)
    }
    self.partials = partials
    let capacities = stages.map { stage in
      let own = stage.partialCounts[stage.place]
      return max(
        stage.schedule.arrayCount - own + own * (stage.peers.count - 1), 2 * (stage.peers.count - 1))
    }
    messages = communicator.makeRequestSet(capacity: capacities.max() ?? 0)
  }

  deinit { for table in partials { table.deallocate() } }

  /// The bytes of this object's buffers.
  var byteCount: Int { received.byteCount }

  /// Begins a step: no gradient is there yet.
  func begin() {
    precondition(phase == .complete, "a bucket must be complete before the next step begins")
    phase = .filling
    missingCount = elements.count
  }

  /// Notes that some of the bucket's gradients are complete, and starts the exchange with the last of them.
  func gradientReady(_ ready: Range<Int>) throws {
    missingCount -= ready.clamped(to: elements).count
    guard missingCount == 0, phase == .filling else { return }
    if stages.isEmpty {
      phase = .arrived
    } else {
      began = spans.now()
      try send(stage: 0)
    }
  }

  /// Goes on as far as possible without waiting.
  ///
  /// - Throws: ``CommunicationError`` if a message has failed.
  func advance() throws {
    while true {
      switch phase {
      case .filling, .arrived, .held, .complete: return
      case .reducing(let stage):
        guard try messages.test() else { return }
        unpack(stage: stage)
        guard stage + 1 < stages.count else {
          phase = .arrived
          spans.recordReduction(since: began)
          return
        }
        sum(0..<ranges[stage + 1].count, stage: stage)
        try send(stage: stage + 1)
      case .gathering(let stage):
        guard try messages.test() else { return }
        guard stage > 0 else {
          phase = .complete
          spans.recordGather(since: began)
          return
        }
        try gather(stage: stage - 1)
      }
    }
  }

  /// Adds the partial sums of some elements of this rank's slice, in tree order, and leaves the total in the first
  /// segment.
  ///
  /// Several threads may call it for disjoint elements.
  func sum(_ range: Range<Int>) {
    guard let last = stages.indices.last, let result = partials[last].first, !range.isEmpty else {
      return
    }
    let offset = range.lowerBound - ownedShard.lowerBound
    sum(offset..<offset + range.count, stage: last)
    let total = segments[0] + range.lowerBound
    if total != result + offset { total.update(from: result + offset, count: range.count) }
  }

  /// Whether partial sums are on their way.
  var isReducing: Bool {
    if case .reducing = phase { true } else { false }
  }

  /// Notes that this rank's slice of the target is ready; ``startGather()`` follows.
  func queueAllGather() {
    precondition(phase == .arrived, "a bucket is handed out once, after its sums have arrived")
    phase = .held
  }

  /// Hands out this rank's slice of the target and takes the others'.
  func startGather() throws {
    if let last = stages.indices.last {
      began = spans.now()
      try gather(stage: last)
    } else {
      phase = .complete
    }
  }

  private func sum(_ range: Range<Int>, stage: Int) {
    guard let arrays = partials[stage].baseAddress else { return }
    stages[stage].schedule.combine(arrays, elements: range)
  }

  /// Sends every peer its slice of this rank's partial sums.
  private func send(stage s: Int) throws {
    let stage = stages[s]
    phase = .reducing(stage: s)
    var position = 0
    for (peer, rank) in stage.peers.enumerated() {
      for partial in 0..<stage.partialCounts[peer] {
        if peer != stage.place {
          let (target, count) = (partials[s][position], ranges[s + 1].count)
          let tag = tag(stage: s, 1 + partial)
          if stage.isRounded[position] {
            try messages.receive(
              into: BFloat16.packed(target, count: count), count: count, from: rank, tag: tag)
          } else {
            try messages.receive(into: target, count: count, from: rank, tag: tag)
          }
        }
        position += 1
      }
    }
    let firstOwn = stage.partialCounts[..<stage.place].reduce(0, +)
    for distance in 1..<stage.peers.count {
      // Every rank begins with its right neighbour, so that not all of them send to the first at once.
      let peer = (stage.place + distance) % stage.peers.count
      let shard = shards[s][peer]
      for partial in 0..<stage.partialCounts[stage.place] {
        let source =
          s == 0
          ? segments[partial] + shard.lowerBound
          : partials[s - 1][stages[s - 1].schedule.resultPositions[partial]]
            + (shard.lowerBound - ranges[s].lowerBound)
        let (rank, tag) = (stage.peers[peer], tag(stage: s, 1 + partial))
        if stage.isRounded[firstOwn + partial] {
          try messages.send(
            BFloat16.pack(source, count: shard.count), count: shard.count, to: rank, tag: tag)
        } else {
          try messages.send(source, count: shard.count, to: rank, tag: tag)
        }
      }
    }
  }

  /// Makes numbers of the partial sums that have come as bfloat16.
  private func unpack(stage s: Int) {
    let stage = stages[s]
    var position = 0
    for (peer, count) in stage.partialCounts.enumerated() {
      for _ in 0..<count {
        if peer != stage.place && stage.isRounded[position] {
          BFloat16.unpack(partials[s][position], count: ranges[s + 1].count)
        }
        position += 1
      }
    }
  }

  private func gather(stage s: Int) throws {
    let stage = stages[s]
    phase = .gathering(stage: s)
    for (peer, rank) in stage.peers.enumerated() where peer != stage.place {
      let shard = shards[s][peer]
      try messages.receive(
        into: target + shard.lowerBound, count: shard.count, from: rank, tag: tag(stage: s, 0))
    }
    let own = ranges[s + 1]
    for distance in 1..<stage.peers.count {
      let peer = (stage.place + distance) % stage.peers.count
      try messages.send(
        target + own.lowerBound, count: own.count, to: stage.peers[peer], tag: tag(stage: s, 0))
    }
  }

  private func tag(stage: Int, _ message: Int) -> Int {
    firstTag + stage * tagsPerStage + message
  }
}

/// When a bucket is on its way, in a trace.
///
/// A span ends when the rank notices that the last message has come, which may be later than it came.
struct BucketTraceLabels {
  private let tracer: Tracer?
  private let reduction: TraceLabel
  private let gather: TraceLabel

  /// Makes the labels of bucket number `index`.
  init(_ index: Int, _ tracer: Tracer?) {
    self.tracer = tracer
    reduction = tracer.label("reduce bucket \(index)", "exchange")
    gather = tracer.label("gather bucket \(index)", "exchange")
  }

  /// Reads the clock if something is traced.
  func now() -> UInt64 { tracer.now() }

  /// Records the way of partial sums to the owners of their slices.
  func recordReduction(since start: UInt64) { record(reduction, start) }

  /// Records the way of the owners' results to all ranks.
  func recordGather(since start: UInt64) { record(gather, start) }

  private func record(_ label: TraceLabel, _ start: UInt64) {
    if let tracer { tracer.record(label, track: tracer.communicationTrack, since: start) }
  }
}
