/// The extents of a tensor, outermost dimension first.
///
/// Layout letters used throughout the project: N images, H rows, W columns, C channels of an activation (`NHWC`);
/// R × S kernel extent, C input channels, K filters of a convolution kernel in memory (`RSCK`).
public struct Shape: Hashable, Sendable, CustomStringConvertible {
  /// The extents, outermost first.
  ///
  /// Never negative.
  public let extents: [Int]

  /// Makes a shape from its extents, outermost first.
  ///
  /// - Precondition: no extent is negative.
  public init(_ extents: [Int]) {
    precondition(extents.allSatisfy { $0 >= 0 }, "a shape has no negative extent: \(extents)")
    self.extents = extents
  }

  /// Makes a shape from its extents, outermost first.
  public init(_ extents: Int...) { self.init(extents) }

  /// The number of dimensions.
  public var rank: Int { extents.count }

  /// The number of elements: the product of the extents, 1 for a scalar.
  public var elementCount: Int { extents.reduce(1, *) }

  /// For example `[3, 3, 16, 16]`.
  public var description: String { "[" + extents.map(String.init).joined(separator: ", ") + "]" }

  /// The extent of one dimension, 0 being the outermost.
  public subscript(dimension: Int) -> Int { extents[dimension] }
}
