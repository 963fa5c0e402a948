/// A dense fp32 array with a shape, 64-byte aligned, its last dimension contiguous.
///
/// Activations are `NHWC`, so image `n` starts at `pointer + n * elementCountPerImage` and a microbatch is a contiguous
/// run of the buffer.
public final class Tensor: Sendable {
  /// The dimensions, outermost first.
  public let shape: Shape
  private let buffer: AlignedBuffer<Float>

  /// Allocates a tensor of zeros.
  public init(_ shape: Shape) {
    self.shape = shape
    buffer = AlignedBuffer(count: shape.elementCount)
  }

  /// The first element.
  public var pointer: UnsafeMutablePointer<Float> { buffer.pointer }
  /// All elements in row-major order.
  public var elements: UnsafeMutableBufferPointer<Float> { buffer.elements }
  /// The size in bytes.
  public var byteCount: Int { buffer.byteCount }
  /// The number of elements of one entry of the outermost dimension: one image of an `NHWC` activation.
  public var elementCountPerImage: Int { shape.elementCount / shape[0] }
}

/// The dimensions of a tensor, outermost dimension first.
///
/// Layout letters used throughout the project: N images, H rows, W columns, C channels of an activation (`NHWC`);
/// R × S kernel extent, C input channels, K filters of a convolution kernel in memory (`RSCK`).
public struct Shape: Hashable, Sendable, CustomStringConvertible {
  /// The dimensions, outermost first.
  ///
  /// Never negative.
  public let dimensions: [Int]

  /// Makes a shape from its dimensions, outermost first.
  ///
  /// - Precondition: no extent is negative.
  public init(_ dimensions: [Int]) {
    precondition(dimensions.allSatisfy { $0 >= 0 }, "a shape has no negative extent: \(dimensions)")
    self.dimensions = dimensions
  }

  /// Makes a shape from its dimensions, outermost first.
  public init(_ dimensions: Int...) { self.init(dimensions) }

  /// The number of dimensions.
  public var rank: Int { dimensions.count }

  /// The number of elements: the product of the dimensions, 1 for a scalar.
  public var elementCount: Int { dimensions.reduce(1, *) }

  /// For example `[3, 3, 16, 16]`.
  public var description: String { "[" + dimensions.map(String.init).joined(separator: ", ") + "]" }

  /// The extent of one dimension, 0 being the outermost.
  public subscript(dimension: Int) -> Int { dimensions[dimension] }
}
