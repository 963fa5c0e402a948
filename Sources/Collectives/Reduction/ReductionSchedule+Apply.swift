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
  public func apply(
    to arrays: UnsafeMutablePointer<Float>, stride: Int, elements: Range<Int>
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
  public func apply(
    to arrays: UnsafeMutablePointer<Double>, stride: Int, elements: Range<Int>
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
  public func apply(
    to arrays: UnsafePointer<UnsafeMutablePointer<Float>>, elements: Range<Int>
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

extension RoundedReductionSchedule {
  /// Elements added at a time, so that what is rounded is still in the cache.
  private static var blockLength: Int { 1_024 }

  /// Performs the additions and roundings in place on arrays of `Float` that lie anywhere.
  ///
  /// Allocates nothing.
  ///
  /// - Parameters:
  ///   - arrays: The first element of the array of each leaf.
  ///   - elements: The elements to sum, of every array; ranges of concurrent calls are disjoint.
  public func apply(
    to arrays: UnsafePointer<UnsafeMutablePointer<Float>>, elements: Range<Int>
  ) {
    var first = elements.lowerBound
    while first < elements.upperBound {
      let count = min(Self.blockLength, elements.upperBound &- first)
      add(additionsBelow, arrays, first, count)
      for position in roundedPositions { BFloat16.round(arrays[position] + first, count: count) }
      add(additionsAbove, arrays, first, count)
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
