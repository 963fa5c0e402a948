/// A range divided into work items of equal size; the last item holds the remainder.
public struct WorkDivision: Sendable {
  /// The divided range.
  public let range: Range<Int>
  /// The length of every work item except possibly the last.
  public let itemSize: Int

  /// Creates the division of a range; an empty range has no work items.
  ///
  /// - Precondition: `itemSize` is positive.
  @inlinable
  public init(_ range: Range<Int>, itemSize: Int) {
    precondition(itemSize > 0, "the size of a work item must be positive")
    self.range = range
    self.itemSize = itemSize
  }

  /// The number of work items.
  @inlinable
  public var count: Int { range.count.dividedRoundingUp(by: itemSize) }

  /// The range of one work item.
  ///
  /// - Precondition: `item` is in 0 ..< ``count``.
  @inlinable
  public subscript(item: Int) -> Range<Int> {
    let start = range.lowerBound + item * itemSize
    return start..<min(start + itemSize, range.upperBound)
  }
}

extension Int {
  /// Returns ⌈self / divisor⌉.
  ///
  /// - Precondition: The number is not negative and `divisor` is positive.
  @inlinable
  public func dividedRoundingUp(by divisor: Int) -> Int { (self + divisor - 1) / divisor }
}

extension Array where Element: Comparable {
  /// The median; for an even number of elements the upper of the two middle ones.
  ///
  /// - Precondition: The array is not empty.
  public var median: Element { sorted()[count / 2] }
}
