import Collectives
import Tensors

/// The memory of the way back: gradients of activations, the microbatches' gradients of one layer at a time, and the
/// gradients of all parameters summed over this rank's microbatches.
final class GradientMemory {
  /// Masked gradient behind a block's first normalisation (or the last one of the network).
  let outer: Tensor
  /// Masked gradient behind a block's second normalisation.
  let inner: Tensor
  /// What reaches a tensor along a skip connection.
  private(set) var skip: Tensor
  /// What a group's shortcut sends to the group before.
  private(set) var nextSkip: Tensor
  /// The sums over this rank's subtrees of the reduction tree, one store a subtree.
  let segments: [ParameterStore]
  private let leaves: AlignedBuffer<Float>
  private let schedule: ReductionSchedule

  /// Allocates gradients for `imageCount` images in this rank's microbatches.
  init(_ network: WideResNet, imageCount: Int, microbatches: Range<Int>, tree: ReductionTree) {
    let shape = Shape(imageCount, network.largestActivationCount)
    outer = Tensor(shape)
    inner = Tensor(shape)
    skip = Tensor(shape)
    nextSkip = Tensor(shape)
    schedule = ReductionSchedule(tree: tree, leaves: microbatches)
    segments = schedule.segments.map { _ in ParameterStore(network.parameterLayout) }
    let largest = (network.layersInOrder.map(\.range.count) + [network.head.range.count]).max() ?? 0
    leaves = AlignedBuffer(count: microbatches.count * largest)
  }

  /// The bytes of this object's buffers.
  var byteCount: Int {
    4 * outer.byteCount + leaves.byteCount + segments.reduce(0) { $0 + $1.bytes.count }
  }

  /// Exchanges the two skip gradients: the way back enters the next group.
  func swapSkips() { swap(&skip, &nextSkip) }

  /// Where microbatch `m` leaves its gradient of a layer whose parameters lie at `range`.
  func leaf(_ m: Int, of range: Range<Int>) -> UnsafeMutablePointer<Float> {
    leaves.pointer + m * range.count
  }

  /// Sums the microbatches' gradients of one layer, in tree order, into the segments.
  func combine(_ range: Range<Int>, pool: WorkerPool) {
    let pieceCount = (range.count + Self.pieceSize - 1) / Self.pieceSize
    pool.run(pieceCount, with: (self, range)) { context, i, _ in
      let (memory, range) = context
      memory.combine(range, elements: i * Self.pieceSize..<min((i + 1) * Self.pieceSize, range.count))
    }
  }

  // Element-wise, so the size of a piece decides nothing but the cost of handing it out.
  private static let pieceSize = 16_384

  private func combine(_ range: Range<Int>, elements: Range<Int>) {
    schedule.combine(leaves.pointer, stride: range.count, elements: elements)
    for (segment, position) in zip(segments, schedule.resultPositions) {
      let sum = leaves.pointer + (position * range.count + elements.lowerBound)
      (segment.pointer + (range.lowerBound + elements.lowerBound)).update(
        from: sum, count: elements.count)
    }
  }
}
