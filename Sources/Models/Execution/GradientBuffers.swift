import Collectives
import Tensors
import Tracing

/// The memory of the way back: gradients of activations, the microbatches' gradients of one layer at a time, and the
/// gradients of all parameters summed over this rank's microbatches.
final class GradientBuffers {
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
  // The first microbatch of a subtree leaves its gradient where the subtree's sum is to be; the others' come here.
  // Those of a normalisation have a place of their own: they are written while those of the convolution before it on
  // the way back still wait to be added.
  private let others: AlignedBuffer<Float>
  private let normalizationOffset: Int
  private let places: [Place]
  private let arrays: UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>
  private let schedule: ReductionSchedule
  private let roundedSchedule: RoundedReductionSchedule?

  /// The two kinds of layers that alternate.
  enum LayerKind {
    /// A convolution or the dense layer.
    case kernel
    /// A batch normalisation.
    case normalization
  }

  /// Where a microbatch's gradient goes.
  private enum Place {
    case segment(Int)
    case other(Int)
  }

  /// Allocates gradients for `imageCount` images in this rank's microbatches.
  ///
  /// The sums of level `roundingLevel` of the tree, if it is given, are rounded to bfloat16.
  init(
    _ network: WideResNet, imageCount: Int, microbatches: Range<Int>, tree: ReductionTree, roundingLevel: Int?
  ) {
    let shape = Shape(imageCount, network.largestActivationCount)
    outer = Tensor(shape)
    inner = Tensor(shape)
    skip = Tensor(shape)
    nextSkip = Tensor(shape)
    schedule = ReductionSchedule(tree: tree, leaves: microbatches)
    roundedSchedule = roundingLevel.map {
      RoundedReductionSchedule(tree: tree, leaves: microbatches, level: $0)
    }
    segments = schedule.subtrees.map { _ in ParameterStore(network.parameterLayout) }
    var otherCount = 0
    places = (0..<microbatches.count).map { [schedule] m in
      if let segment = schedule.resultPositions.firstIndex(of: m) { return .segment(segment) }
      otherCount += 1
      return .other(otherCount - 1)
    }
    let largest = (network.convolutionLayers.map(\.range.count) + [network.head.range.count]).max() ?? 0
    let widest = network.normalizationLayers.map(\.layer.range.count).max() ?? 0
    normalizationOffset = otherCount * largest
    others = AlignedBuffer(count: otherCount * (largest + widest))
    arrays = .allocate(capacity: microbatches.count)
    arrays.initialize(repeating: others.pointer)
  }

  deinit { arrays.deallocate() }

  /// The bytes of this object's buffers.
  var byteCount: Int {
    4 * outer.byteCount + others.byteCount + segments.reduce(0) { $0 + $1.bytes.count }
  }

  /// Exchanges the two skip gradients: the way back enters the next group.
  func swapSkips() { swap(&skip, &nextSkip) }

  /// Where microbatch `m` leaves its gradient of a layer whose parameters lie at `range`.
  func leaf(
    _ m: Int, of range: Range<Int>, _ kind: LayerKind = .kernel
  ) -> UnsafeMutablePointer<Float> {
    switch places[m] {
    case .segment(let s): segments[s].pointer + range.lowerBound
    case .other(let i):
      others.pointer + (kind == .kernel ? 0 : normalizationOffset) + i * range.count
    }
  }

  /// The addresses where the microbatches leave their gradients of a layer; until the next call.
  func leaves(
    of range: Range<Int>, _ kind: LayerKind = .kernel
  ) -> UnsafePointer<UnsafeMutablePointer<Float>> {
    for m in arrays.indices { arrays[m] = leaf(m, of: range, kind) }
    guard let address = arrays.baseAddress else { preconditionFailure("a rank has microbatches") }
    return UnsafePointer(address)
  }

  /// Sums the microbatches' gradients of one layer, in tree order, into the segments.
  func combine(
    _ range: Range<Int>, _ kind: LayerKind = .kernel, pool: WorkerPool, label: TraceLabel = .unknown
  ) {
    guard !schedule.additions.isEmpty || roundedSchedule != nil else { return }
    let leaves = leaves(of: range, kind)
    let pieceCount = (range.count + Self.pieceSize - 1) / Self.pieceSize
    pool.run(pieceCount, with: (self, leaves, range), label: label) { context, i, _ in
      let (memory, leaves, range) = context
      let elements = i * Self.pieceSize..<min((i + 1) * Self.pieceSize, range.count)
      if let rounded = memory.roundedSchedule {
        rounded.apply(to: leaves, elements: elements)
      } else {
        memory.schedule.apply(to: leaves, elements: elements)
      }
    }
  }

  // Element-wise, so the size of a piece decides nothing but the cost of handing it out.
  private static let pieceSize = 16_384
}
