import Tensors
import Testing

/// Output sizes, padding, and the microbatches of one call.
@Suite struct ConvolutionGeometryTests {
  /// TensorFlow's SAME padding: an odd number of zeros puts the extra one after the image.
  @Test(arguments: [
    (32, 3, 1, 32, 1), (32, 3, 2, 16, 0), (7, 3, 2, 4, 1), (1, 3, 2, 1, 1), (6, 1, 2, 3, 0), (9, 5, 1, 9, 2),
  ])
  func samePadding(size: Int, kernelSize: Int, stride: Int, output: Int, before: Int) {
    let geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: 2, outputChannels: 3, kernelSize: kernelSize,
      stride: stride)
    #expect(geometry.outputHeight == output && geometry.outputWidth == output)
    #expect(geometry.paddingBefore == before)
    #expect(geometry.multiplyAdds == output * output * kernelSize * kernelSize * 6)
  }

  /// PyTorch's padding: equal on all sides.
  @Test(arguments: [(32, 3, 1, 1, 32), (32, 3, 2, 1, 16), (32, 1, 2, 0, 16), (7, 3, 2, 1, 4), (8, 3, 2, 0, 3)])
  func symmetricPadding(size: Int, kernelSize: Int, stride: Int, padding: Int, output: Int) {
    let geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: 2, outputChannels: 3, kernelSize: kernelSize,
      stride: stride, padding: padding)
    #expect(geometry.outputHeight == output && geometry.outputWidth == output)
    #expect(geometry.paddingBefore == padding)
  }

  @Test func theLastMicrobatchHoldsTheRemainder() {
    let microbatches = MicrobatchRange(imageCount: 10, imagesPerMicrobatch: 4)
    #expect(microbatches.microbatchCount == 3)
    #expect((0..<3).map { microbatches.images(of: $0) } == [0..<4, 4..<8, 8..<10])
    #expect([0, 3, 4, 9].map { microbatches.microbatch(of: $0) } == [0, 0, 1, 2])
    let single = MicrobatchRange(imageCount: 5)
    #expect(single.microbatchCount == 1 && single.images(of: 0) == 0..<5)
  }
}
