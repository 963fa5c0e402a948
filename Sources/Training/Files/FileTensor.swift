import Tensors

/// A tensor as it stands in a file: PyTorch's name, extents and order of elements.
///
/// Convolution kernels are `RSCK` in memory and `KCRS` (OIHW) in a file, dense kernels `[inputs, outputs]` in memory and
/// `[outputs, inputs]` in a file; all others are alike.
struct FileTensor {
  /// The name in the file.
  let name: String
  private let parameter: Parameter
  private let store: ParameterStore

  /// Looks at a parameter of a store under a name.
  init(_ name: String, _ parameter: Parameter, in store: ParameterStore) {
    self.name = name
    self.parameter = parameter
    self.store = store
  }

  /// The extents in the file.
  var shape: Shape {
    let e = parameter.shape.extents
    return switch parameter.kind {
    case .convolutionKernel: Shape(e[3], e[2], e[0], e[1])
    case .denseKernel: Shape(e[1], e[0])
    default: parameter.shape
    }
  }

  /// The size in the file.
  var byteCount: Int { parameter.range.count * MemoryLayout<Float>.stride }

  /// Copies the elements to file order.
  func copy(to target: UnsafeMutablePointer<Float>) {
    let source = store[parameter]
    forEachElement { memory, file in target[file] = source[memory] }
  }

  /// Takes the elements from file order.
  func copy(from source: UnsafeRawBufferPointer) {
    let target = store[parameter]
    forEachElement { memory, file in
      target[memory] = Float(
        bitPattern: UInt32(
          littleEndian: source.loadUnaligned(fromByteOffset: 4 * file, as: UInt32.self)))
    }
  }

  /// Visits every element with its position in memory and in the file.
  @inline(__always)
  private func forEachElement(_ body: (_ memory: Int, _ file: Int) -> Void) {
    let e = parameter.shape.extents
    switch parameter.kind {
    case .convolutionKernel:
      let (taps, inputs, filters) = (e[0] * e[1], e[2], e[3])
      for k in 0..<filters {
        for c in 0..<inputs {
          for t in 0..<taps { body((t * inputs + c) * filters + k, (k * inputs + c) * taps + t) }
        }
      }
    case .denseKernel:
      for o in 0..<e[1] { for i in 0..<e[0] { body(i * e[1] + o, o * e[0] + i) } }
    default: for i in 0..<parameter.range.count { body(i, i) }
    }
  }
}
