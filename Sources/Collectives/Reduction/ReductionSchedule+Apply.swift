extension ReductionSchedule {
  /// Elements added at a time: with eight arrays of `Float`, a block of each fits a 32 KiB cache,
  /// so that an array is read from memory once although the tree touches it several times.
  private static var blockLength: Int { 1_024 }

  /// Performs the additions in place on an element range of arrays of `Float`.
  ///
  /// Costs `additions.count` additions per element. Allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: Element 0 of array 0; array i starts `stride` · i elements later.
  ///   - stride: The distance between arrays, at least their length.
  ///   - elements: The elements to sum, of every array; ranges of concurrent calls are disjoint.
  public func combine(
    _ arrays: UnsafeMutablePointer<Float>, stride: Int, elements: Range<Int>
  ) {
    var first = elements.lowerBound
    while first < elements.upperBound {
      let count = min(Self.blockLength, elements.upperBound &- first)
      for addition in additions {
        let destination = arrays + (addition.destination &* stride &+ first)
        let source = arrays + (addition.source &* stride &+ first)
        for i in 0..<count { destination[i] += source[i] }
      }
      first &+= count
    }
  }

  /// Performs the additions in place on an element range of arrays of `Double`.
  ///
  /// Costs `additions.count` additions per element. Allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: Element 0 of array 0; array i starts `stride` · i elements later.
  ///   - stride: The distance between arrays, at least their length.
  ///   - elements: The elements to sum, of every array; ranges of concurrent calls are disjoint.
  public func combine(
    _ arrays: UnsafeMutablePointer<Double>, stride: Int, elements: Range<Int>
  ) {
    var first = elements.lowerBound
    while first < elements.upperBound {
      let count = min(Self.blockLength, elements.upperBound &- first)
      for addition in additions {
        let destination = arrays + (addition.destination &* stride &+ first)
        let source = arrays + (addition.source &* stride &+ first)
        for i in 0..<count { destination[i] += source[i] }
      }
      first &+= count
    }
  }

  /// Performs the additions in place on arrays of `Float` that lie anywhere.
  ///
  /// Costs `additions.count` additions per element. Allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: The first element of each of the `arrayCount` arrays.
  ///   - elements: The elements to sum, of every array; ranges of concurrent calls are disjoint.
  public func combine(
    _ arrays: UnsafePointer<UnsafeMutablePointer<Float>>, elements: Range<Int>
  ) {
    var first = elements.lowerBound
    while first < elements.upperBound {
      let count = min(Self.blockLength, elements.upperBound &- first)
      for addition in additions {
        let destination = arrays[addition.destination] + first
        let source = UnsafePointer(arrays[addition.source] + first)
        for i in 0..<count { destination[i] += source[i] }
      }
      first &+= count
    }
  }
}

/// The additions of the microbatches of one rank with the sums of one level of the tree rounded to bfloat16.
///
/// What lies below the level is added first, then these sums are rounded, then they are added as far as the rank has
/// them. As with ``ReductionSchedule``, several threads may replay it on different elements.
public struct RoundedReductionSchedule: Sendable {
  /// Elements added at a time, so that what is rounded is still in the cache.
  private static let blockLength = 1_024

  private let below: [ReductionSchedule.Addition]
  private let rounded: [Int]
  private let above: [ReductionSchedule.Addition]

  /// Plans the sums of the leaves that one rank owns.
  ///
  /// - Parameters:
  ///   - tree: The order of all additions.
  ///   - leaves: The rank's run of leaves, which neither begins nor ends within a subtree of the level.
  ///   - level: The level whose sums are rounded.
  public init(tree: ReductionTree, leaves: Range<Int>, level: Int) {
    let width = 1 << level
    precondition(
      leaves.lowerBound.isMultiple(of: width)
        && (leaves.upperBound.isMultiple(of: width) || leaves.upperBound == tree.leafCount),
      "a rank must own whole subtrees of the level that is rounded")
    // An addition of two nodes of one level joins arrays that are as far apart as a node is wide.
    let additions = ReductionSchedule(tree: tree, leaves: leaves).additions
    below = additions.filter { $0.source - $0.destination < width }
    above = additions.filter { $0.source - $0.destination >= width }
    rounded = Array(stride(from: 0, to: leaves.count, by: width))
  }

  /// Performs the additions and roundings in place on arrays of `Float` that lie anywhere.
  ///
  /// Allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: The first element of the array of each leaf.
  ///   - elements: The elements to sum, of every array; ranges of concurrent calls are disjoint.
  public func combine(
    _ arrays: UnsafePointer<UnsafeMutablePointer<Float>>, elements: Range<Int>
  ) {
    var first = elements.lowerBound
    while first < elements.upperBound {
      let count = min(Self.blockLength, elements.upperBound &- first)
      add(below, arrays, first, count)
      for position in rounded { BFloat16.round(arrays[position] + first, count: count) }
      add(above, arrays, first, count)
      first &+= count
    }
  }

  private func add(
    _ additions: [ReductionSchedule.Addition], _ arrays: UnsafePointer<UnsafeMutablePointer<Float>>, _ first: Int,
    _ count: Int
  ) {
    for addition in additions {
      let destination = arrays[addition.destination] + first
      let source = UnsafePointer(arrays[addition.source] + first)
      for i in 0..<count { destination[i] += source[i] }
    }
  }
}
