/// A range divided into work items of equal size; the last one takes what is left.
public struct WorkDivision: Sendable {
  /// What is divided.
  public let range: Range<Int>
  /// The length of every work item but possibly the last.
  public let itemSize: Int

  /// Divides a range.
  ///
  /// - Precondition: `itemSize` is positive.
  @inlinable
  public init(_ range: Range<Int>, itemSize: Int) {
    precondition(itemSize > 0, "a work item has elements")
    self.range = range
    self.itemSize = itemSize
  }

  /// The number of work items.
  @inlinable
  public var count: Int { range.count.dividedRoundingUp(by: itemSize) }

  /// The range of a work item.
  @inlinable
  public subscript(item: Int) -> Range<Int> {
    let start = range.lowerBound + item * itemSize
    return start..<min(start + itemSize, range.upperBound)
  }
}

extension Int {
  /// Returns ⌈self / divisor⌉ of a nonnegative number and a positive divisor.
  @inlinable
  public func dividedRoundingUp(by divisor: Int) -> Int { (self + divisor - 1) / divisor }
}

extension [Double] {
  /// The median; of an even number of values the upper of the two in the middle.
  ///
  /// - Precondition: The array is not empty.
  public var median: Double { sorted()[count / 2] }
}
