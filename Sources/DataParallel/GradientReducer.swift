import Collectives
import Tensors
import Tracing

/// The bucketed gradient all-reduce, overlapped with the backward pass.
///
/// It sums gradients over all microbatches of all ranks in the order of the fixed tree. Each bucket is reduce-scattered:
/// a rank sends rank j the shard of its subtree sums that rank j owns, and rank j finishes the tree for that shard. The
/// owner has all subtree sums, so it adds them in tree order for every number of ranks. Then the owners' results are
/// all-gathered, overlapped with the next step's forward pass.
///
/// With one subtree per rank, 2·(p − 1)/p of the gradient's bytes leave each of p ranks, the lower bound of an
/// all-reduce. On several hosts the ranks of a host do this first, and then the ranks with the same local rank. With h
/// hosts, 2·(h − 1)/h of the gradient's bytes leave each host.
///
/// Messages are in flight while the rank computes; `Communicator.progress()` polls them. There are no callbacks: the
/// training step reports complete gradients, polls for reduced buckets, and reports completed shards.
public final class GradientReducer {
  /// The buckets.
  public let plan: BucketPlan

  private let topology: ReductionTopology
  private let communicator: any Communicator
  private let buckets: [BucketReducer]
  private var nextReduced: Int

  /// The first tag of the messages; smaller tags are free for other messages.
  private static let firstTag = 16

  /// Plans the all-reduce and allocates its buffers; does not communicate.
  ///
  /// Every rank must pass equal arguments.
  ///
  /// - Parameters:
  ///   - plan: The buckets.
  ///   - tree: The tree over all microbatches.
  ///   - wire: The format of partial sums between ranks. With `WireFormat.bf16` the caller has already rounded the sums at
  ///     the rounding level.
  ///   - communicator: The ranks.
  ///   - subtreeSums: The flat gradients of this rank's subtrees; overwritten. With one rank the only one is the gradient.
  ///     Otherwise the first receives the totals of this rank's shards.
  ///   - target: The flat buffer to all-gather from the owners of its shards: the parameters, or `subtreeSums[0]` if every
  ///     rank needs the whole gradient.
  ///   - tracer: Records when buckets are in flight. If `nil`, nothing is traced.
  public init(
    plan: BucketPlan, tree: ReductionTree, wire: WireFormat, communicator: any Communicator,
    subtreeSums: [UnsafeMutablePointer<Float>], target: UnsafeMutablePointer<Float>,
    tracer: Tracer? = nil
  ) {
    self.plan = plan
    self.communicator = communicator
    let topology = ReductionTopology(plan, tree: tree, wire: wire, hostOfRank: communicator.hostOfRank)
    self.topology = topology
    buckets = plan.buckets.enumerated().map { index, elements in
      BucketReducer(
        index: index, elements: elements, topology: topology, subtreeSums: subtreeSums, target: target,
        communicator: communicator,
        firstTag: Self.firstTag + index * BucketReducer.tagCount(topology), tracer: tracer)
    }
    nextReduced = buckets.count
  }

  /// Returns the memory and the shards of one rank's reducer without allocating it.
  ///
  /// - Parameters:
  ///   - plan: The buckets.
  ///   - tree: The tree over all microbatches.
  ///   - wire: The format of partial sums between ranks.
  ///   - rank: The rank.
  ///   - hostOfRank: The host of every rank, as in `Communicator.hostOfRank`.
  /// - Returns: The bytes of the buffers, and the number of elements in the rank's shards of all buckets.
  public static func size(
    _ plan: BucketPlan, tree: ReductionTree, wire: WireFormat, rank: Int, hostOfRank: [Int]
  ) -> (byteCount: Int, ownedElementCount: Int) {
    let topology = ReductionTopology(plan, tree: tree, wire: wire, hostOfRank: hostOfRank)
    let received = topology.stages(rank: rank).reduce(0) { sum, stage in
      let partials = stage.schedule.arrayCount - stage.partialCounts[stage.index]
      return sum + partials * stage.shards.reduce(0) { $0 + $1[stage.index].count }
    }
    return (4 * received, topology.shards.reduce(0) { $0 + $1[rank].count })
  }

  /// The bytes of the buffers.
  public var byteCount: Int { buckets.reduce(0) { $0 + $1.byteCount } }

  /// Whether ranks add the sums of some peers before they exchange them with the others.
  public var isHierarchical: Bool { topology.innerSize != nil }

  /// For every bucket, the shard of each rank.
  public var shards: [[Range<Int>]] { topology.shards }

  /// Returns the elements of a bucket that this rank owns.
  public func ownedShard(_ bucket: Int) -> Range<Int> { buckets[bucket].ownedShard }

  /// Collective: compares the bucket plans of all ranks; call it before the first step.
  ///
  /// - Throws: `ConsistencyDigest.Mismatch` on every rank if two plans differ; `CommunicationError` if communication fails.
  public func verifyEqualPlans() throws {
    var digest = plan.digest
    digest.combine(UInt64(topology.innerSize ?? 0))
    digest.combine(UInt64(1 + (topology.roundingLevel ?? -1)))
    try digest.verifyEqual("the division of the gradient into buckets", on: communicator)
  }

  /// Prepares for the backward pass of a step; all all-gathers of the previous step must be complete.
  public func beginBackward() {
    for bucket in buckets { bucket.beginBackward() }
    nextReduced = 0
  }

  /// Marks the gradients of some elements as complete in all subtree sums, and starts to reduce buckets that are complete.
  ///
  /// Does not block.
  ///
  /// - Parameter elements: Elements not yet marked in this step.
  /// - Throws: `CommunicationError` if a message fails.
  public func gradientReady(_ elements: Range<Int>) throws {
    for bucket in buckets where bucket.elements.overlaps(elements) {
      try bucket.gradientReady(elements)
    }
    if communicator.overlapsCommunication { try advance() }
  }

  /// Returns the next bucket whose partial sums have all arrived, each bucket once per step and in order.
  ///
  /// - Parameter waiting: Whether to block until it has arrived; pass true only after all gradients are complete.
  /// - Returns: The bucket. If `nil`, none has arrived or, when waiting, all have been returned.
  /// - Throws: `CommunicationError` if a message fails.
  public func nextReducedBucket(waiting: Bool) throws -> Int? {
    guard nextReduced < buckets.count else { return nil }
    let bucket = buckets[nextReduced]
    if waiting {
      try wait { bucket.state == .reduced }
    } else if bucket.state != .reduced {
      return nil
    }
    nextReduced += 1
    return nextReduced - 1
  }

  /// Adds the partial sums of some elements of this rank's shard, in tree order; the total replaces the first subtree sum.
  ///
  /// Several threads may call it for disjoint elements.
  ///
  /// - Parameters:
  ///   - elements: Elements within ``ownedShard(_:)``.
  ///   - bucket: A bucket that ``nextReducedBucket(waiting:)`` has returned.
  public func finishReduction(_ elements: Range<Int>, of bucket: Int) { buckets[bucket].finishReduction(elements) }

  /// Starts to all-gather a bucket of the target; this rank's shard must be complete.
  ///
  /// Does not block. Between hosts partial sums go first (``SendPriority``): every rank waits for them at the end of the
  /// backward pass, while a result may arrive as late as the forward pass reaches its layer.
  ///
  /// - Parameter bucket: A bucket that ``nextReducedBucket(waiting:)`` has returned.
  /// - Throws: `CommunicationError` if a message fails.
  public func allGather(_ bucket: Int) throws { try buckets[bucket].startAllGather() }

  /// Blocks until all shards of a bucket of the target have arrived.
  ///
  /// - Throws: `CommunicationError` if a message fails.
  public func waitForAllGather(_ bucket: Int) throws {
    let bucket = buckets[bucket]
    try wait { bucket.state == .idle }
  }

  /// Blocks until the first elements of the target have arrived.
  ///
  /// - Parameter count: The number of elements needed.
  /// - Returns: The number of elements that have arrived, counted from the first: `count` or more.
  /// - Throws: `CommunicationError` if a message fails.
  public func waitForAllGather(ofFirst count: Int) throws -> Int {
    if communicator.overlapsCommunication { try advance() }
    var index = buckets.count - 1
    while index >= 0 {
      if buckets[index].state != .idle {
        guard buckets[index].elements.lowerBound < count else {
          return buckets[index].elements.lowerBound
        }
        try waitForAllGather(index)
      }
      index -= 1
    }
    return plan.elementCount
  }

  /// Blocks until the whole target has arrived.
  ///
  /// - Throws: `CommunicationError` if a message fails.
  public func waitForAllGathers() throws { _ = try waitForAllGather(ofFirst: plan.elementCount) }

  /// Ends a step without all-gathers: its gradient is not used.
  ///
  /// - Precondition: ``nextReducedBucket(waiting:)`` has returned all buckets, and no all-gather has started.
  public func discard() { for bucket in buckets { bucket.discard() } }

  private func advance() throws {
    for bucket in buckets { try bucket.advance() }
  }

  private func wait(until condition: () -> Bool) throws {
    if condition() { return }
    try communicator.wait {
      try advance()
      return condition()
    }
  }
}
