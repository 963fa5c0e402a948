import Collectives
import DataParallel
import Tensors
import TestSupport

/// One rank that reduces synthetic gradients in the call sequence of a training step.
final class ReducerHarness {
  /// One case of a property test.
  struct Case: Sendable {
    /// M, the number of microbatches.
    var microbatches: Int
    /// The length of the flat gradient.
    var elementCount: Int
    /// The bytes per bucket.
    var bucketByteCount = 4096
    /// Whether owners all-gather results of their own, as with sharded optimizer state, or the gradient.
    var isSharded = true
    /// The format of partial sums between ranks.
    var wire = WireFormat.fp32
    /// The seed of the gradients; `nil` if all are zero.
    var seed: UInt64? = 0
    /// Whether infinities and NaNs among the gradients are replaced by 1.
    var isFinite = false

    /// The gradients of all microbatches, including zeros of both signs, denormals and infinities.
    var leaves: [[Float]] {
      guard let seed else { return [] }
      var numbers = TestNumbers(seed: seed)
      return (0..<microbatches).map { _ in
        (0..<elementCount).map { _ in
          let number = numbers.float()
          return isFinite && !number.isFinite ? 1 : number
        }
      }
    }

    /// The reference sum over the tree.
    var sum: [Float] {
      let leaves = leaves
      return (0..<elementCount).map { i in sum(0..<microbatches, of: leaves, at: i) }
    }

    /// The reference sum of one element over some leaves.
    ///
    /// With bf16 it adds rounded sums of 2^k leaves each, with the smallest k for which all leaves have at most eight.
    func sum(_ range: Range<Int>, of leaves: [[Float]], at i: Int) -> Float {
      guard wire == .bf16 else { return referenceSum(leaves[range].map { $0[i] }, +) }
      var width = 1
      while microbatches > 8 * width { width *= 2 }
      let rounded = stride(from: range.lowerBound, to: range.upperBound, by: width).map { first in
        nearestBFloat16(referenceSum(leaves[first..<min(first + width, range.upperBound)].map { $0[i] }, +))
      }
      return referenceSum(rounded, +)
    }
  }

  /// The results of one step.
  struct Outcome: Sendable {
    /// The gradient as computed by the owners of its shards and all-gathered.
    let result: [Float]
    let squareSum: Double
    let stopRequested: Bool
    let sentByteCount: Int
    let sentToOtherHostsByteCount: Int
    let sentMessageCount: Int
  }

  private let example: Case
  private let communicator: any Communicator
  private let subtreeSums: [AlignedBuffer<Float>]
  private let subtrees: [ReductionTree.Node]
  private let parameters: AlignedBuffer<Float>
  private let reducer: GradientReducer
  private let summary: StepSummary

  init(_ example: Case, _ communicator: any Communicator) {
    self.example = example
    self.communicator = communicator
    let tree = ReductionTree(leafCount: example.microbatches)
    subtrees = tree.maximalSubtrees(of: tree.leafRanges(worldSize: communicator.worldSize)[communicator.rank])
    subtreeSums = subtrees.map { _ in AlignedBuffer(count: example.elementCount) }
    parameters = AlignedBuffer(count: example.elementCount)
    reducer = GradientReducer(
      plan: BucketPlan(
        elementCount: example.elementCount, bucketByteCount: example.bucketByteCount), tree: tree,
      wire: example.wire, communicator: communicator, subtreeSums: subtreeSums.map(\.pointer),
      target: example.isSharded ? parameters.pointer : subtreeSums[0].pointer)
    summary = StepSummary(reducer, communicator: communicator)
  }

  /// Reduces once; if owners compute results of their own, these are the negative gradient.
  func step(stopRequested: Bool = false) throws -> Outcome {
    let before = sent
    let leaves = example.leaves
    let tree = ReductionTree(leafCount: example.microbatches)
    for (subtree, sum) in zip(subtrees, subtreeSums) where !leaves.isEmpty {
      let covered = tree.leaves(of: subtree)
      for i in 0..<example.elementCount {
        sum.pointer[i] = example.sum(covered, of: leaves, at: i)
      }
    }
    reducer.beginBackward()
    for range in readyRanges() {
      try reducer.gradientReady(range)
      while let bucket = try reducer.nextReducedBucket(waiting: false) { try apply(bucket) }
    }
    while let bucket = try reducer.nextReducedBucket(waiting: true) { try apply(bucket) }
    // The messages of the summary are not the gradient's.
    let beforeSummary = sent
    try summary.start(stopRequested: stopRequested)
    let (squareSum, stopRequested) = try summary.finish()
    let afterSummary = sent
    try reducer.waitForAllGathers()
    let counts = (sent &- afterSummary) &+ (beforeSummary &- before)
    let result = example.isSharded ? parameters.elements.map { -$0 } : Array(subtreeSums[0].elements)
    return Outcome(
      result: result, squareSum: squareSum, stopRequested: stopRequested, sentByteCount: counts[0],
      sentToOtherHostsByteCount: counts[1], sentMessageCount: counts[2])
  }

  /// The counts so far of bytes, of bytes to other hosts, and of messages.
  private var sent: SIMD4<Int> {
    let statistics = communicator.statistics
    return SIMD4(statistics.sentByteCount, statistics.sentToOtherHostsByteCount, statistics.sentMessageCount, 0)
  }

  private func apply(_ bucket: Int) throws {
    let shard = reducer.ownedShard(bucket)
    // Two work items, as with several threads.
    let middle = min(shard.lowerBound + BucketPlan.chunkLength, shard.upperBound)
    for item in [shard.lowerBound..<middle, middle..<shard.upperBound] {
      reducer.finishReduction(item, of: bucket)
      summary.addSquares(item, of: subtreeSums[0].pointer)
      if example.isSharded { for i in item { parameters.pointer[i] = -subtreeSums[0].pointer[i] } }
    }
    try reducer.allGather(bucket)
  }

  /// Ranges that cover all elements nearly in reverse order, in a different order on every rank.
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

/// Rounds a number to the nearest bfloat16 by comparing its two neighbors; ties go to the even one.
func nearestBFloat16(_ value: Float) -> Float {
  guard value.isFinite else { return value }
  let below = Float(bitPattern: value.bitPattern & 0xffff_0000)
  // The neighbor above the largest bfloat16 is an infinity, which counts as the power of two in its place.
  let above = Float(bitPattern: (value.bitPattern & 0xffff_0000) &+ 0x1_0000)
  let upper = above.isFinite ? Double(above) : Double(sign: value.sign, exponent: 128, significand: 1)
  let (toBelow, toAbove) = (abs(Double(value) - Double(below)), abs(upper - Double(value)))
  if toBelow != toAbove { return toBelow < toAbove ? below : above }
  return (below.bitPattern >> 16).isMultiple(of: 2) ? below : above
}
