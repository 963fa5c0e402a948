import Collectives
import DataParallel
import Tensors
import TestSupport

/// One rank that exchanges made-up gradients as a training step does.
final class ReducerHarness {
  /// A case of a property test.
  struct Case: Sendable {
    /// M.
    var microbatches: Int
    /// The length of the flat gradient.
    var elementCount: Int
    /// The bytes of a bucket.
    var bucketByteCount = 4096
    /// Whether owners hand out results of their own, as with sharded moments, instead of the gradient.
    var isSharded = true
    /// In what form partial sums travel.
    var wire = WireFormat.fp32
    /// Decides the numbers; nil: all are zero.
    var seed: UInt64? = 0

    /// The gradients of all microbatches, with zeros of both signs, denormals and infinities among them.
    var leaves: [[Float]] {
      guard let seed else { return [] }
      var numbers = TestNumbers(seed: seed)
      return (0..<microbatches).map { _ in (0..<elementCount).map { _ in numbers.float() } }
    }

    /// The sum over the tree in its plainest form.
    var sum: [Float] {
      let leaves = leaves
      return (0..<elementCount).map { i in sum(0..<microbatches, of: leaves, at: i) }
    }

    /// One element of the sum over some leaves: with bf16, over rounded sums of as many leaves as there must be for no more
    /// than eight of them.
    func sum(_ range: Range<Int>, of leaves: [[Float]], at i: Int) -> Float {
      guard wire == .bf16 else { return referenceSum(leaves[range].map { $0[i] }, +) }
      var width = 1
      while microbatches > 8 * width { width *= 2 }
      let parts = stride(from: range.lowerBound, to: range.upperBound, by: width).map { first in
        nearestBrainFloat(referenceSum(leaves[first..<min(first + width, range.upperBound)].map { $0[i] }, +))
      }
      return referenceSum(parts, +)
    }
  }

  /// What a step leaves.
  struct Outcome: Sendable {
    /// What the owners made of the gradient and handed out.
    let result: [Float]
    let squareSum: Double
    let stopRequested: Bool
    let sentByteCount: Int
    let sentToOtherHostsByteCount: Int
    let sentMessageCount: Int
  }

  private let example: Case
  private let communicator: any Communicator
  private let segments: [AlignedBuffer<Float>]
  private let nodes: [ReductionTree.Node]
  private let parameters: AlignedBuffer<Float>
  private let exchange: GradientReducer
  private let summary: StepSummary

  init(_ example: Case, _ communicator: any Communicator) {
    self.example = example
    self.communicator = communicator
    let tree = ReductionTree(leafCount: example.microbatches)
    nodes = tree.segments(of: tree.ownership(worldSize: communicator.worldSize)[communicator.rank])
    segments = nodes.map { _ in AlignedBuffer(count: example.elementCount) }
    parameters = AlignedBuffer(count: example.elementCount)
    exchange = GradientReducer(
      plan: BucketPlan(
        elementCount: example.elementCount, bucketByteCount: example.bucketByteCount), tree: tree,
      wire: example.wire, communicator: communicator, segments: segments.map(\.pointer),
      target: example.isSharded ? parameters.pointer : segments[0].pointer)
    summary = StepSummary(exchange, communicator: communicator)
  }

  /// Exchanges once; what is handed out is the gradient's negative where owners make something of it.
  func step(stopRequested: Bool = false) throws -> Outcome {
    let before = sent
    let leaves = example.leaves
    let tree = ReductionTree(leafCount: example.microbatches)
    for (node, segment) in zip(nodes, segments) where !leaves.isEmpty {
      let below = tree.leaves(of: node)
      for i in 0..<example.elementCount {
        segment.pointer[i] = example.sum(below, of: leaves, at: i)
      }
    }
    exchange.begin()
    for range in readyRanges() {
      try exchange.gradientReady(range)
      while let bucket = try exchange.nextReducedBucket(waiting: false) { try use(bucket) }
    }
    while let bucket = try exchange.nextReducedBucket(waiting: true) { try use(bucket) }
    // The messages of the summary are not the gradient's.
    let beforeSummary = sent
    try summary.start(stopRequested: stopRequested)
    let (squareSum, stopRequested) = try summary.finish()
    let afterSummary = sent
    try exchange.finish()
    let counts = (sent &- afterSummary) &+ (beforeSummary &- before)
    let result = example.isSharded ? parameters.elements.map { -$0 } : Array(segments[0].elements)
    return Outcome(
      result: result, squareSum: squareSum, stopRequested: stopRequested, sentByteCount: counts[0],
      sentToOtherHostsByteCount: counts[1], sentMessageCount: counts[2])
  }

  /// Bytes, bytes to other hosts, and messages so far.
  private var sent: SIMD4<Int> {
    let statistics = communicator.statistics
    return SIMD4(statistics.sentByteCount, statistics.sentToOtherHostsByteCount, statistics.sentMessageCount, 0)
  }

  private func use(_ bucket: Int) throws {
    let shard = exchange.ownedShard(bucket)
    // In two parts, as several threads would.
    let middle = min(shard.lowerBound + BucketPlan.chunkLength, shard.upperBound)
    for part in [shard.lowerBound..<middle, middle..<shard.upperBound] {
      exchange.sum(part, of: bucket)
      summary.addSquares(part, of: segments[0].pointer)
      if example.isSharded { for i in part { parameters.pointer[i] = -segments[0].pointer[i] } }
    }
    try exchange.gather(bucket)
  }

  /// Pieces that cover all elements, in an order that is nearly backwards, the same on no two ranks.
  private func readyRanges() -> [Range<Int>] {
    var numbers = TestNumbers(seed: (example.seed ?? 0) &+ UInt64(communicator.rank))
    var ranges: [Range<Int>] = []
    var end = example.elementCount
    while end > 0 {
      let first = max(0, end - 1 - numbers.below(1500))
      ranges.append(first..<end)
      end = first
    }
    for i in ranges.indices.dropFirst() where numbers.below(3) == 0 { ranges.swapAt(i, i - 1) }
    return ranges
  }
}

/// The bfloat16 nearest to a number, found by comparing its two neighbours; of two equally near ones the even one.
func nearestBrainFloat(_ value: Float) -> Float {
  guard value.isFinite else { return value }
  let below = Float(bitPattern: value.bitPattern & 0xffff_0000)
  // Beyond the largest one lies an infinity, which counts as the power of two in its place.
  let above = Float(bitPattern: (value.bitPattern & 0xffff_0000) &+ 0x1_0000)
  let upper = above.isFinite ? Double(above) : Double(sign: value.sign, exponent: 128, significand: 1)
  let (toBelow, toAbove) = (abs(Double(value) - Double(below)), abs(upper - Double(value)))
  if toBelow != toAbove { return toBelow < toAbove ? below : above }
  return (below.bitPattern >> 16).isMultiple(of: 2) ? below : above
}
