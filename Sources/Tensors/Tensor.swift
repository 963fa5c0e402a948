/// A dense fp32 array with a shape, 64-byte aligned, its last dimension contiguous.
///
/// Activations are `NHWC`, so image `n` starts at `pointer + n * elementCountPerImage` and a microbatch is a contiguous
/// run of the buffer.
public final class Tensor: Sendable {
  /// The extents, outermost first.
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
