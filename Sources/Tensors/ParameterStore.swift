/// All tensors of one layout in one contiguous fp32 buffer: a network's parameters, or their gradients, or its running
/// statistics, or one moment of an optimizer.
public final class ParameterStore: Sendable {
  /// The names, shapes and ranges.
  public let layout: ParameterLayout
  private let buffer: AlignedBuffer<Float>

  /// Allocates a store of zeros.
  public init(_ layout: ParameterLayout) {
    self.layout = layout
    buffer = AlignedBuffer(count: layout.elementCount)
  }

  /// The first element of the flat buffer.
  public var pointer: UnsafeMutablePointer<Float> { buffer.pointer }
  /// The flat buffer.
  public var elements: UnsafeMutableBufferPointer<Float> { buffer.elements }
  /// The flat buffer's bytes.
  public var bytes: UnsafeMutableRawBufferPointer { buffer.bytes }

  /// The elements of one tensor, in its memory layout.
  public subscript(parameter: Parameter) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(rebasing: buffer.elements[parameter.range])
  }

  /// Copies every element from a store of the same layout.
  ///
  /// - Precondition: the layouts are equal.
  public func copy(from other: ParameterStore) {
    precondition(layout == other.layout, "stores of different layouts cannot be copied")
    buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(other.bytes))
  }
}
