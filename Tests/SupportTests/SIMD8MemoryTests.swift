import Support
import Testing

@Suite struct SIMD8MemoryTests {
  @Test func unalignedFloatsAreLoadedAndStored() {
    let source = UnsafeMutablePointer<Float>.allocate(capacity: 20)
    defer { source.deallocate() }
    for i in 0..<20 { source[i] = Float(i) }
    let vector = SIMD8<Float>(loading: source + 3)
    #expect(vector == SIMD8(3, 4, 5, 6, 7, 8, 9, 10))
    (vector * 2).store(to: source + 9)
    #expect((0..<20).map { source[$0] } == [0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 8, 10, 12, 14, 16, 18, 20, 17, 18, 19])
  }
}
