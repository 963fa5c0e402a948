import Collectives
import Tensors
import Tracing

/// Sums gradients over all microbatches of all ranks in the order of the fixed tree, bucket by bucket, while the way back
/// still computes; what the owners of slices make of the sums goes back to all ranks while the next step begins.
///
/// A direct reduce-scatter followed by an all-gather: each rank sends the slice of its subtrees' sums that rank j owns to
/// rank j, which finishes the tree for that slice; then rank j's result goes to every rank. The owner sees all subtrees,
/// so it adds them in the one order that the tree prescribes, whatever the number of ranks. With one subtree a rank,
/// 2·(p − 1)/p of the gradient's bytes leave each rank, the least that any all-reduce needs. On several hosts the ranks of
/// each do this among themselves first, and then with their counterparts on the others, so that with h hosts
/// 2·(h − 1)/h of the gradient's bytes leave each host.
///
/// Messages travel while the rank computes, moved on by ``Communicator/progress()``. Nothing here is called back: the
/// step says when gradients are ready, asks for buckets that have arrived, and says when a slice is done.
public final class GradientReducer {
  /// The cuts.
  public let plan: BucketPlan

  private let layout: ReductionTopology
  private let communicator: any Communicator
  private let buckets: [BucketReducer]
  private let gradient: UnsafeMutablePointer<Float>
  private var nextArrival: Int

  /// The tags of messages from here on; smaller ones are free for others.
  private static let firstTag = 16

  /// Plans the exchange; every rank must plan the same.
  ///
  /// - Parameters:
  ///   - plan: How the gradient is cut.
  ///   - tree: The tree over all microbatches.
  ///   - wire: In what form partial sums travel. With ``Collectives/WireFormat/bf16`` the sums of its level have been
  ///     rounded already.
  ///   - communicator: The ranks.
  ///   - segments: The flat gradients of this rank's subtrees, spent by the exchange. With one rank the only one is the gradient, else the
  ///     totals of this rank's slices are left in the first.
  ///   - target: The flat buffer whose slices the owners hand out: the parameters, or `segments[0]` itself if every rank
  ///     is to have the whole gradient.
  ///   - tracer: Records when buckets are on their way.
  public init(
    plan: BucketPlan, tree: ReductionTree, wire: WireFormat, communicator: any Communicator,
    segments: [UnsafeMutablePointer<Float>], target: UnsafeMutablePointer<Float>,
    tracer: Tracer? = nil
  ) {
    self.plan = plan
    self.communicator = communicator
    gradient = segments[0]
    let layout = ReductionTopology(plan, tree: tree, wire: wire, hosts: communicator.hosts)
    self.layout = layout
    buckets = plan.buckets.enumerated().map { index, elements in
      BucketReducer(
        index: index, elements: elements, layout: layout, segments: segments, target: target,
        communicator: communicator,
        firstTag: Self.firstTag + index * BucketReducer.tagCount(layout), tracer: tracer)
    }
    nextArrival = buckets.count
  }

  /// Returns what an exchange will need of one rank, before it is planned.
  ///
  /// - Parameters:
  ///   - plan: How the gradient is cut.
  ///   - tree: The tree over all microbatches.
  ///   - wire: In what form partial sums travel.
  ///   - rank: The rank.
  ///   - hosts: The host of every rank, as ``Communicator/hosts`` has them.
  /// - Returns: The bytes of the buffers, and the elements of the rank's slices of all buckets.
  public static func size(
    _ plan: BucketPlan, tree: ReductionTree, wire: WireFormat, rank: Int, hosts: [Int]
  ) -> (byteCount: Int, ownedElementCount: Int) {
    let layout = ReductionTopology(plan, tree: tree, wire: wire, hosts: hosts)
    let received = layout.stages(rank: rank).reduce(0) { sum, stage in
      let partials = stage.schedule.arrayCount - stage.partialCounts[stage.place]
      return sum + partials * stage.shards.reduce(0) { $0 + $1[stage.place].count }
    }
    return (4 * received, layout.shards.reduce(0) { $0 + $1[rank].count })
  }

  /// The bytes of the buffers.
  public var byteCount: Int { buckets.reduce(0) { $0 + $1.byteCount } }

  /// For every bucket, the slice of every rank.
  public var shards: [[Range<Int>]] { layout.shards }

  /// The elements of a bucket that this rank owns.
  public func ownedShard(_ bucket: Int) -> Range<Int> { buckets[bucket].ownedShard }

  /// Compares the cuts of all ranks; every rank calls it before the first step.
  ///
  /// - Throws: `ConsistencyDigest.Mismatch` on every rank if two differ; ``CommunicationError`` if the exchange fails.
  public func requireEqualPlans() throws {
    var digest = plan.digest
    digest.combine(UInt64(layout.groupSize ?? 0))
    digest.combine(UInt64(1 + (layout.roundingLevel ?? -1)))
    try digest.requireEqual("the cut of gradients into buckets", on: communicator)
  }

  /// Begins the way back of a step; everything of the step before has been waited for.
  public func begin() {
    for bucket in buckets { bucket.begin() }
    nextArrival = 0
  }

  /// Notes that the gradients of some elements are complete in all segments, and sends the buckets that are full.
  ///
  /// - Parameter elements: Elements that were not named before in this step.
  /// - Throws: ``CommunicationError`` if a message fails.
  public func gradientReady(_ elements: Range<Int>) throws {
    for bucket in buckets where bucket.elements.overlaps(elements) {
      try bucket.gradientReady(elements)
    }
    if communicator.overlapsCommunication { try advance() }
  }

  /// Returns the next bucket all of whose partial sums have arrived, each bucket once a step and in order.
  ///
  /// - Parameter waiting: Whether to wait for it, once all gradients are ready.
  /// - Returns: The bucket; nil if none has arrived or, waiting, if all have been returned.
  /// - Throws: ``CommunicationError`` if a message fails.
  public func nextReducedBucket(waiting: Bool) throws -> Int? {
    guard nextArrival < buckets.count else { return nil }
    let bucket = buckets[nextArrival]
    if waiting {
      try wait { bucket.phase == .arrived }
    } else if bucket.phase != .arrived {
      return nil
    }
    nextArrival += 1
    return nextArrival - 1
  }

  /// Adds the partial sums of some elements of this rank's slice of a bucket; the total is in the first segment then.
  ///
  /// Several threads may call it for disjoint elements.
  ///
  /// - Parameters:
  ///   - elements: Elements within ``ownedShard(_:)``.
  ///   - bucket: A bucket that ``nextReducedBucket(waiting:)`` has returned.
  public func sum(_ elements: Range<Int>, of bucket: Int) { buckets[bucket].sum(elements) }

  /// Hands out this rank's slice of the target to all ranks, and takes theirs.
  ///
  /// Partial sums go first: everybody waits for them at the end of the way back, while a result may take until the next
  /// forward pass reaches its layer. So the slice is sent when no partial sums are on their way, and of several slices
  /// those of the first layers lead.
  ///
  /// - Parameter bucket: A bucket whose slice of the target is ready.
  /// - Throws: ``CommunicationError`` if a message fails.
  public func gather(_ bucket: Int) throws {
    buckets[bucket].queueAllGather()
    try startQueuedAllGathers()
  }

  /// Waits until all slices of a bucket of the target are here.
  ///
  /// - Throws: ``CommunicationError`` if a message fails.
  public func waitForAllGather(_ bucket: Int) throws {
    let bucket = buckets[bucket]
    try wait { bucket.phase == .complete }
  }

  /// Waits until the first elements of the target are here.
  ///
  /// - Parameter count: The elements that are needed.
  /// - Returns: How many are there, from the first on: `count` or more.
  /// - Throws: ``CommunicationError`` if a message fails.
  public func waitForAllGather(ofFirst count: Int) throws -> Int {
    if communicator.overlapsCommunication { try advance() }
    var index = buckets.count - 1
    while index >= 0 {
      if buckets[index].phase != .complete {
        guard buckets[index].elements.lowerBound < count else {
          return buckets[index].elements.lowerBound
        }
        try waitForAllGather(index)
      }
      index -= 1
    }
    return plan.elementCount
  }

  /// Waits until the whole target is here.
  ///
  /// - Throws: ``CommunicationError`` if a message fails.
  public func finish() throws { _ = try waitForAllGather(ofFirst: plan.elementCount) }

  private func advance() throws {
    for bucket in buckets { try bucket.advance() }
    try startQueuedAllGathers()
  }

  private func startQueuedAllGathers() throws {
    for bucket in buckets where bucket.isReducing { return }
    for bucket in buckets.reversed() where bucket.phase == .held { try bucket.startGather() }
  }

  private func wait(until condition: () -> Bool) throws {
    if condition() { return }
    try communicator.wait {
      try advance()
      return condition()
    }
  }
}
