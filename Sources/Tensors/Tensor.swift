/// A dense, row-major fp32 array with a shape, 64-byte aligned.
///
/// Activations are `NHWC`: image `n` starts at `pointer + n * elementCountPerImage`, and the images of a microbatch are
/// contiguous.
public final class Tensor: Sendable {
  /// The dimensions, outermost first.
  public let shape: Shape
  private let buffer: AlignedBuffer<Float>

  /// Allocates a tensor of zeros.
  public init(_ shape: Shape) {
    self.shape = shape
    buffer = AlignedBuffer(count: shape.elementCount)
  }

  /// The address of the first element.
  public var pointer: UnsafeMutablePointer<Float> { buffer.pointer }
  /// All elements in row-major order.
  public var elements: UnsafeMutableBufferPointer<Float> { buffer.elements }
  /// The size in bytes.
  public var byteCount: Int { buffer.byteCount }
  /// The number of elements per index of the outermost dimension: per image of an `NHWC` activation.
  public var elementCountPerImage: Int { shape.elementCount / shape[0] }
}

/// The dimensions of a tensor, outermost first.
///
/// The project's layout letters: N images, H rows, W columns and C channels of an input (`NHWC`); P rows, Q columns and
/// K channels of a convolution's output (`NPQK`); R rows and S columns of a convolution's weight (`RSCK`).
public struct Shape: Hashable, Sendable, CustomStringConvertible {
  /// The dimensions, outermost first; none is negative.
  public let dimensions: [Int]

  /// Creates a shape from its dimensions, outermost first.
  ///
  /// - Precondition: No dimension is negative.
  public init(_ dimensions: [Int]) {
    precondition(dimensions.allSatisfy { $0 >= 0 }, "a shape has no negative dimension: \(dimensions)")
    self.dimensions = dimensions
  }

  /// Creates a shape from its dimensions, outermost first.
  ///
  /// - Precondition: No dimension is negative.
  public init(_ dimensions: Int...) { self.init(dimensions) }

  /// The number of dimensions.
  public var rank: Int { dimensions.count }

  /// The number of elements: the product of the dimensions, 1 for a scalar.
  public var elementCount: Int { dimensions.reduce(1, *) }

  /// A textual representation, for example `[3, 3, 16, 16]`.
  public var description: String { "[" + dimensions.map(String.init).joined(separator: ", ") + "]" }

  /// The size of dimension `index`; 0 is the outermost.
  public subscript(index: Int) -> Int { dimensions[index] }
}
