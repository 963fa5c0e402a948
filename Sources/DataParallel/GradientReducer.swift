import Collectives

/// Sums gradients over all microbatches of all ranks, in the order of the fixed tree.
///
/// A direct reduce-scatter followed by an all-gather: each rank sends the slice of its subtrees' sums that rank j owns to
/// rank j, which finishes the tree for that slice; then every rank gets every slice. The owner sees all subtrees, so it
/// adds them in the one order that the tree prescribes, whatever the number of ranks. With one subtree a rank, 2·(p − 1)/p
/// of the gradient's bytes leave each rank, the least that any all-reduce needs.
public final class GradientReducer {
  private let communicator: any Communicator
  private let elementCount: Int
  private let segmentCount: Int
  private let slices: [Range<Int>]
  private let top: ReductionSchedule
  private let sendCounts: [Int]
  private let receiveCounts: [Int]
  private let gatherCounts: [Int]
  private let packed: UnsafeMutablePointer<Float>?
  private let received: UnsafeMutablePointer<Float>
  /// The bytes of the buffers.
  public let byteCount: Int

  /// Plans the reduction; every rank must plan the same.
  ///
  /// - Parameters:
  ///   - elementCount: The length of the flat gradient.
  ///   - tree: The tree over all microbatches.
  ///   - communicator: The ranks.
  public init(elementCount: Int, tree: ReductionTree, communicator: any Communicator) {
    let worldSize = communicator.worldSize
    self.communicator = communicator
    self.elementCount = elementCount
    // Slices start at cache lines, so that no two ranks' work meets in one.
    let lines = (elementCount + 15) / 16
    let bounds = (0...worldSize).map { min($0 * lines / worldSize * 16, elementCount) }
    let slices = (0..<worldSize).map { bounds[$0]..<bounds[$0 + 1] }
    self.slices = slices
    let segments = tree.ownership(worldSize: worldSize).map { tree.segments(of: $0) }
    let segmentCount = segments[communicator.rank].count
    self.segmentCount = segmentCount
    top = ReductionSchedule(topOf: tree, worldSize: worldSize)
    let mine = slices[communicator.rank].count
    sendCounts = slices.map { $0.count * segmentCount * 4 }
    receiveCounts = segments.map { $0.count * mine * 4 }
    gatherCounts = slices.map { $0.count * 4 }
    let receivedCount = segments.reduce(0) { $0 + $1.count } * mine
    let packedCount = segmentCount > 1 && worldSize > 1 ? segmentCount * elementCount : 0
    packed = packedCount > 0 ? .allocate(capacity: packedCount) : nil
    received = .allocate(capacity: max(receivedCount, 1))
    byteCount = 4 * (receivedCount + packedCount)
  }

  deinit {
    packed?.deallocate()
    received.deallocate()
  }

  /// Sums this rank's subtrees with those of all other ranks.
  ///
  /// Every rank calls it once a step.
  ///
  /// - Parameters:
  ///   - segment: Returns the flat gradient of one of this rank's subtrees.
  ///   - gradient: Where the sum over all microbatches goes, the same bits on every rank; does not overlap a segment.
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func reduce(
    _ segment: (Int) -> UnsafeMutablePointer<Float>, into gradient: UnsafeMutablePointer<Float>
  ) throws {
    guard communicator.worldSize > 1 else {
      // A single rank's run is the whole tree.
      return gradient.update(from: segment(0), count: elementCount)
    }
    try communicator.allToAll(
      bytes(pack(segment), elementCount * segmentCount), sendCounts: sendCounts,
      into: UnsafeMutableRawBufferPointer(
        start: received, count: receiveCounts.reduce(0, +)), receiveCounts: receiveCounts)
    let mine = slices[communicator.rank].count
    top.combine(received, stride: mine, elements: 0..<mine)
    try communicator.allGather(
      bytes(received, mine),
      into: UnsafeMutableRawBufferPointer(start: gradient, count: elementCount * 4),
      counts: gatherCounts)
  }

  /// Brings the pieces for each rank together: they already are when there is one segment.
  private func pack(
    _ segment: (Int) -> UnsafeMutablePointer<Float>
  ) -> UnsafeMutablePointer<Float> {
    guard let packed else { return segment(0) }
    var position = packed
    for slice in slices {
      for s in 0..<segmentCount {
        position.update(from: segment(s) + slice.lowerBound, count: slice.count)
        position += slice.count
      }
    }
    return packed
  }

  private func bytes(_ start: UnsafeMutablePointer<Float>, _ count: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: start, count: count * 4)
  }
}
