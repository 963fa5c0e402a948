import Tensors

/// Memory for operands, which lives as long as this object.
final class OperandMemory {
  private var buffers: [AlignedBuffer<Float>] = []

  /// Returns aligned memory with some numbers.
  func copy(_ values: [Float]) -> UnsafePointer<Float> {
    let buffer = AlignedBuffer<Float>(count: values.count)
    _ = buffer.elements.update(fromContentsOf: values)
    buffers.append(buffer)
    return UnsafePointer(buffer.pointer)
  }

  /// Returns aligned memory without a single number.
  func notNumbers(_ count: Int) -> UnsafeMutablePointer<Float> {
    let buffer = AlignedBuffer<Float>(count: count)
    buffer.elements.update(repeating: .nan)
    buffers.append(buffer)
    return buffer.pointer
  }
}
