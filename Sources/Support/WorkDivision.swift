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

  /// The items of ``init(elements:)`` start at multiples of it: whole chunks of the gradient, which have checksums and sums of
  /// squares.
  public static let elementUnit = 512
  private static let (minimumElementCount, maximumItemCount) = (2_048, 128)

  /// Creates the division of an element-wise operation on arrays of `Float`, such as a sum or an update.
  ///
  /// There are at most 128 items, and only the last may have less than 2,048 elements. Short items let many threads share
  /// a small layer. But every item starts new streams of memory: sums of 3.7 million elements took twice as long in items
  /// of 2,048 as in items of 16,384.
  public init(elements: Range<Int>) {
    let unitCount = elements.count.dividedRoundingUp(by: Self.maximumItemCount).dividedRoundingUp(by: Self.elementUnit)
    self.init(elements, itemSize: max(Self.minimumElementCount, Self.elementUnit * unitCount))
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
