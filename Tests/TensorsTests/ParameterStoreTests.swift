import Tensors
import Testing

/// Memory, layouts and geometries.
@Suite struct ParameterStoreTests {
  @Test func buffersAreAlignedAndZero() {
    for count in [0, 1, 3, 1000] {
      let buffer = AlignedBuffer<Float>(count: count)
      #expect(UInt(bitPattern: buffer.pointer) % 64 == 0)
      #expect(buffer.elements.count == count && buffer.elements.allSatisfy { $0 == 0 })
      #expect(buffer.byteCount == 4 * count)
    }
  }

  @Test func tensorsFollowOneAnother() {
    var layout = ParameterLayout()
    let a = layout.append("a", .convolutionWeight, Shape(3, 3, 2, 4))
    let b = layout.append("b", .bias, Shape(4))
    #expect(a.range == 0..<72 && b.range == 72..<76 && layout.elementCount == 76)
    #expect(layout["b"] == b && layout["c"] == nil)
    let store = ParameterStore(layout)
    store[b][3] = 5
    #expect(store.elements[75] == 5 && store.bytes.count == 304)
    let other = ParameterStore(layout)
    other.copy(from: store)
    #expect(Array(other.elements) == Array(store.elements))
  }

  /// TensorFlow's SAME padding: the odd zero comes after.
  @Test(arguments: [
    (32, 3, 1, 32, 1), (32, 3, 2, 16, 0), (7, 3, 2, 4, 1), (1, 3, 2, 1, 1), (6, 1, 2, 3, 0), (9, 5, 1, 9, 2),
  ])
  func samePadding(size: Int, kernel: Int, stride: Int, output: Int, before: Int) {
    let geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: 2, outputChannels: 3, kernelSize: kernel,
      stride: stride)
    #expect(geometry.outputHeight == output && geometry.outputWidth == output)
    #expect(geometry.paddingBefore == before)
    #expect(geometry.multiplyAdds == output * output * kernel * kernel * 6)
  }
}
