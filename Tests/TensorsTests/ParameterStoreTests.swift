import Tensors
import Testing

/// Aligned memory, parameter layouts and stores.
@Suite struct ParameterStoreTests {
  @Test func buffersAreAlignedAndZero() {
    for count in [0, 1, 3, 1000] {
      let buffer = AlignedBuffer<Float>(count: count)
      #expect(UInt(bitPattern: buffer.pointer) % 64 == 0)
      #expect(buffer.elements.count == count && buffer.elements.allSatisfy { $0 == 0 })
      #expect(buffer.byteCount == 4 * count)
    }
  }

  /// From 1 MiB on, buffers are mapped in whole huge pages of 2 MiB.
  @Test(arguments: [(1 << 20) - 1, 1 << 20, 2 << 20, (2 << 20) + 1])
  func largeBuffersAreAlignedToHugePages(byteCount: Int) {
    let buffer = AlignedBuffer<UInt8>(count: byteCount)
    #expect(UInt(bitPattern: buffer.pointer) % (byteCount < 1 << 20 ? 64 : 2 << 20) == 0)
    #expect(buffer.bytes.count == byteCount && buffer.elements.allSatisfy { $0 == 0 })
    buffer.elements[byteCount - 1] = 1
  }

  @Test func tensorsAreContiguous() {
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
}
