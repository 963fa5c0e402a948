import Collectives
import Support
import Tensors
import Tracing

/// The gradients of all parameters, summed over this rank's microbatches, and the microbatches' own gradients of one
/// layer at a time.
final class GradientBuffers {
  /// The sums over this rank's maximal subtrees of the reduction tree, one store per subtree.
  let subtreeSums: [ParameterStore]
  // The first microbatch of a subtree writes its gradient to the memory of the subtree's sum; the others write here.
  // Normalizations have separate memory: their gradients are added only after the next layer has written its own.
  private let extraGradients: AlignedBuffer<Float>
  private let normalizationOffset: Int
  private let placements: [Placement]
  private let addresses: UnsafeMutableBufferPointer<UnsafeMutablePointer<Float>>
  private let schedule: ReductionSchedule
  private let roundedSchedule: RoundedReductionSchedule?

  /// The two kinds of layers that alternate.
  enum LayerKind {
    /// A convolution or the dense layer.
    case weight
    /// A batch normalization.
    case normalization
  }

  /// The memory of a microbatch's gradient.
  private enum Placement {
    case subtreeSum(Int)
    case extra(Int)
  }

  /// Allocates the gradients of this rank's microbatches.
  ///
  /// If `roundingLevel` is given, the sums of that level of the tree are rounded to bfloat16.
  init(_ graph: ModelGraph, microbatches: Range<Int>, tree: ReductionTree, roundingLevel: Int?) {
    schedule = ReductionSchedule(tree: tree, leaves: microbatches)
    roundedSchedule = roundingLevel.map {
      RoundedReductionSchedule(tree: tree, leaves: microbatches, level: $0)
    }
    subtreeSums = schedule.subtrees.map { _ in ParameterStore(graph.parameterLayout) }
    var extraCount = 0
    placements = (0..<microbatches.count).map { [schedule] m in
      if let subtree = schedule.resultPositions.firstIndex(of: m) { return .subtreeSum(subtree) }
      extraCount += 1
      return .extra(extraCount - 1)
    }
    normalizationOffset = extraCount * graph.largestWeightCount
    extraGradients = AlignedBuffer(
      count: extraCount * (graph.largestWeightCount + graph.largestNormalizationParameterCount))
    addresses = .allocate(capacity: microbatches.count)
    addresses.initialize(repeating: extraGradients.pointer)
  }

  deinit { addresses.deallocate() }

  /// The bytes of this object's buffers.
  var byteCount: Int { extraGradients.byteCount + subtreeSums.reduce(0) { $0 + $1.bytes.count } }

  /// Returns ``byteCount`` before anything is allocated.
  static func byteCount(_ graph: ModelGraph, microbatchCount: Int, subtreeCount: Int) -> Int {
    let extra = graph.largestWeightCount + graph.largestNormalizationParameterCount
    return 4 * ((microbatchCount - subtreeCount) * extra + subtreeCount * graph.parameterCount)
  }

  /// The address to which microbatch `m` writes its gradient of a layer whose parameters are at `range`.
  func destination(
    _ m: Int, of range: Range<Int>, _ kind: LayerKind = .weight
  ) -> UnsafeMutablePointer<Float> {
    switch placements[m] {
    case .subtreeSum(let s): subtreeSums[s].pointer + range.lowerBound
    case .extra(let i):
      extraGradients.pointer + (kind == .weight ? 0 : normalizationOffset) + i * range.count
    }
  }

  /// The addresses to which all microbatches write their gradients of a layer; valid until the next call.
  func destinations(
    of range: Range<Int>, _ kind: LayerKind = .weight
  ) -> UnsafePointer<UnsafeMutablePointer<Float>> {
    for m in addresses.indices { addresses[m] = destination(m, of: range, kind) }
    guard let address = addresses.baseAddress else { preconditionFailure("a rank has microbatches") }
    return UnsafePointer(address)
  }

  /// Sums the microbatches' gradients of one layer into the subtrees' sums, in tree order.
  func reduce(_ range: Range<Int>, _ kind: LayerKind = .weight, pool: WorkerPool, label: TraceLabel = .unknown) {
    guard !schedule.additions.isEmpty || roundedSchedule != nil else { return }
    let items = WorkDivision(0..<range.count, itemSize: Self.itemSize)
    let context = (buffers: self, leaves: destinations(of: range, kind), items: items)
    pool.parallelFor(items.count, with: context, label: label) { context, item, _ in
      let (buffers, leaves, items) = context.pointee
      if let rounded = buffers.roundedSchedule {
        rounded.apply(to: leaves, elements: items[item])
      } else {
        buffers.schedule.apply(to: leaves, elements: items[item])
      }
    }
  }

  // Element-wise: the size of a work item affects balance and the cost of scheduling only. No layer of k = 1 has 40,000
  // elements, and 64 microbatches of one read 0.5 MiB.
  private static let itemSize = 2_048
}

extension ModelGraph {
  /// The parameters of the largest convolution or dense layer.
  fileprivate var largestWeightCount: Int { operations.map(\.parameterRange.count).max() ?? 0 }

  /// The parameters of the widest batch normalization.
  fileprivate var largestNormalizationParameterCount: Int { normalizationLayers.map(\.range.count).max() ?? 0 }
}
