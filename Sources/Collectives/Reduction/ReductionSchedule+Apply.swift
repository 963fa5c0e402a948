extension ReductionSchedule {
  /// Performs the additions in place on some elements of arrays of `Float` at given addresses.
  ///
  /// It performs `additions.count` additions per element and allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: The addresses of the `arrayCount` arrays.
  ///   - elements: The elements of every array to sum; concurrent calls need disjoint ranges.
  public func apply(
    to arrays: UnsafePointer<UnsafeMutablePointer<Float>>, elements: Range<Int>
  ) {
    forEachBlock(of: elements) { block in
      add(additions, block) { arrays[$0] }
    }
  }

  /// Performs the additions in place on some elements of arrays of `Double` at a constant stride.
  ///
  /// It performs `additions.count` additions per element and allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: The address of array 0; array i starts i · `stride` elements later.
  ///   - stride: The distance between arrays in elements, at least their length.
  ///   - elements: The elements of every array to sum; concurrent calls need disjoint ranges.
  public func apply(
    to arrays: UnsafeMutablePointer<Double>, stride: Int, elements: Range<Int>
  ) {
    forEachBlock(of: elements) { block in
      add(additions, block) { arrays + $0 &* stride }
    }
  }
}

extension RoundedReductionSchedule {
  /// Performs the additions and roundings in place on some elements of arrays of `Float` at given addresses.
  ///
  /// It allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: The address of the array of each leaf.
  ///   - elements: The elements of every array to sum; concurrent calls need disjoint ranges.
  public func apply(
    to arrays: UnsafePointer<UnsafeMutablePointer<Float>>, elements: Range<Int>
  ) {
    forEachBlock(of: elements) { block in
      add(additionsBelow, block) { arrays[$0] }
      for position in roundedPositions {
        BFloat16.round(arrays[position] + block.lowerBound, count: block.count)
      }
      add(additionsAbove, block) { arrays[$0] }
    }
  }
}

/// Divides elements into blocks of 1,024.
///
/// A block of eight arrays of `Float` takes 32 KiB, the size of an L1 cache. So every array is read from memory once,
/// although the tree reads it several times.
@inline(__always)
private func forEachBlock(of elements: Range<Int>, _ body: (Range<Int>) -> Void) {
  var first = elements.lowerBound
  while first < elements.upperBound {
    let end = first &+ min(1_024, elements.upperBound &- first)
    body(first..<end)
    first = end
  }
}

/// Performs additions on one block of the arrays whose addresses `array` returns.
@inline(__always)
private func add<Element: FloatingPoint>(
  _ additions: [ReductionSchedule.Addition], _ block: Range<Int>, _ array: (Int) -> UnsafeMutablePointer<Element>
) {
  for addition in additions {
    let destination = array(addition.destination) + block.lowerBound
    let source = UnsafePointer(array(addition.source) + block.lowerBound)
    for i in 0..<block.count { destination[i] += source[i] }
  }
}
