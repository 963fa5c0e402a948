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
  private let schedule: Schedule
  // The schedule of gradients of which local microbatches 2i and 2i + 1 have been summed. `nil` if they are no siblings in
  // the tree, because the first local microbatch is an odd one of the batch, or if they are rounded first.
  private let scheduleOfPairs: Schedule?

  /// The additions of the microbatches' gradients: `rounded` where sums are rounded, `exact` otherwise.
  private struct Schedule {
    let exact: ReductionSchedule
    let rounded: RoundedReductionSchedule?

    var isEmpty: Bool { exact.additions.isEmpty && rounded == nil }

    var withoutLeafPairs: Schedule {
      Schedule(exact: exact.withoutLeafPairs, rounded: rounded?.withoutLeafPairs)
    }

    func apply(to leaves: UnsafePointer<UnsafeMutablePointer<Float>>, elements: Range<Int>) {
      if let rounded {
        rounded.apply(to: leaves, elements: elements)
      } else {
        exact.apply(to: leaves, elements: elements)
      }
    }
  }

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
    let schedule = ReductionSchedule(tree: tree, leaves: microbatches)
    self.schedule = Schedule(
      exact: schedule,
      rounded: roundingLevel.map { RoundedReductionSchedule(tree: tree, leaves: microbatches, level: $0) })
    scheduleOfPairs =
      microbatches.lowerBound.isMultiple(of: 2) && roundingLevel != 0 ? self.schedule.withoutLeafPairs : nil
    subtreeSums = schedule.subtrees.map { _ in ParameterStore(graph.parameterLayout) }
    var extraCount = 0
    placements = (0..<microbatches.count).map { m in
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

  /// Whether work items sum local microbatches 2i and 2i + 1: both are of one item, and siblings in the tree.
  func sumsPairs(within items: LayerWorkItems) -> Bool {
    scheduleOfPairs != nil && items.microbatchesPerItem.isMultiple(of: 2)
  }

  /// Sums the microbatches' gradients of one layer into the subtrees' sums, in tree order.
  ///
  /// - Parameters:
  ///   - range: The parameters of the layer.
  ///   - kind: Where the gradients are.
  ///   - pairedCount: For that many leading parameters, local microbatches 2i and 2i + 1 have been summed already, in the
  ///     memory of the former.
  ///   - pool: The threads of this rank.
  ///   - label: What the trace calls the additions.
  func reduce(
    _ range: Range<Int>, _ kind: LayerKind = .weight, pairedCount: Int = 0, pool: WorkerPool,
    label: TraceLabel = .unknown
  ) {
    precondition(pairedCount == 0 || scheduleOfPairs != nil, "microbatches were summed that are no siblings")
    let leaves = destinations(of: range, kind)
    func apply(_ schedule: Schedule, to elements: Range<Int>) {
      guard !schedule.isEmpty else { return }
      let loop = SumLoop(schedule: schedule, leaves: leaves, items: WorkDivision(elements: elements))
      pool.parallelFor(loop.items.count, with: loop, label: label) { loop, item, _ in
        loop.pointee.schedule.apply(to: loop.pointee.leaves, elements: loop.pointee.items[item])
      }
    }
    if let scheduleOfPairs { apply(scheduleOfPairs, to: 0..<pairedCount) }
    apply(schedule, to: pairedCount..<range.count)
  }

  /// What the work items of sums share, read member by member: a copy of a schedule would change the reference counts of its
  /// arrays for every item.
  private struct SumLoop {
    let schedule: Schedule
    let leaves: UnsafePointer<UnsafeMutablePointer<Float>>
    let items: WorkDivision
  }
}

extension ModelGraph {
  /// The parameters of the largest convolution or dense layer.
  fileprivate var largestWeightCount: Int { operations.map(\.parameterRange.count).max() ?? 0 }

  /// The parameters of the widest batch normalization.
  fileprivate var largestNormalizationParameterCount: Int { normalizationLayers.map(\.range.count).max() ?? 0 }
}
