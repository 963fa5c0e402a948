import Models
import ReferenceImplementation
import Tensors
import TestSupport
import Testing

/// One convolution with generated operands.
struct ConvolutionCase: CustomTestStringConvertible, Sendable {
  let geometry: ConvolutionGeometry
  let images: Int

  init(_ images: Int, size: Int, _ inputs: Int, _ outputs: Int, stride: Int = 1, kernel: Int = 3) {
    self.images = images
    geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs,
      kernelSize: kernel, stride: stride)
  }

  init(
    _ images: Int, size: Int, width: Int? = nil, _ inputs: Int, _ outputs: Int, stride: Int, kernel: Int = 3,
    padding: Int
  ) {
    self.images = images
    geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: width ?? size, inputChannels: inputs, outputChannels: outputs,
      kernelSize: kernel, stride: stride, padding: padding)
  }

  var testDescription: String {
    let g = geometry
    return
      "\(images)×\(g.inputHeight)×\(g.inputWidth)×\(g.inputChannels)→\(g.outputChannels), stride \(g.stride), \(g.kernelSize)², "
      + "padding \(g.paddingBefore)"
  }

  /// The shapes of Wide ResNets, and unusual ones: a single pixel, prime widths, one channel, 1×1 kernels.
  static let all = [
    ConvolutionCase(2, size: 32, 3, 16), ConvolutionCase(3, size: 32, 16, 16),
    ConvolutionCase(2, size: 32, 16, 32, stride: 2), ConvolutionCase(5, size: 16, 32, 32),
    ConvolutionCase(8, size: 8, 64, 64), ConvolutionCase(17, size: 8, 5, 7, stride: 2),
    ConvolutionCase(1, size: 1, 1, 1), ConvolutionCase(4, size: 1, 3, 2, stride: 2),
    ConvolutionCase(3, size: 2, 17, 1), ConvolutionCase(1, size: 5, 1, 17, stride: 2),
    ConvolutionCase(2, size: 7, 4, 6, kernel: 1), ConvolutionCase(2, size: 6, 4, 6, stride: 2, kernel: 1),
    ConvolutionCase(1, size: 9, 2, 3, kernel: 5),
    // Tile blocks: some rows of an image, several images and a rest, one block in all; channel blocks of 64 + 32 + 16.
    ConvolutionCase(1, size: 32, 16, 32), ConvolutionCase(9, size: 8, 32, 16), ConvolutionCase(3, size: 8, 48, 112),
    ConvolutionCase(3, size: 16, 64, 32), ConvolutionCase(1, size: 4, 80, 16), ConvolutionCase(2, size: 12, 16, 48),
    // Microkernels of sixteen rows at each distance that has its own, and at another one.
    ConvolutionCase(5, size: 8, 48, 16), ConvolutionCase(5, size: 8, 64, 16), ConvolutionCase(5, size: 8, 80, 48),
    ConvolutionCase(5, size: 8, 96, 16), ConvolutionCase(5, size: 8, 112, 16),
    // Polyphase, also with padding on both sides.
    ConvolutionCase(3, size: 16, 32, 64, stride: 2), ConvolutionCase(9, size: 8, 48, 112, stride: 2),
    ConvolutionCase(1, size: 64, 16, 16, stride: 2), ConvolutionCase(2, size: 32, 16, 32, stride: 2, padding: 1),
    ConvolutionCase(9, size: 8, 32, 64, stride: 2, padding: 1),
    ConvolutionCase(2, size: 7, 3, 5, stride: 2, padding: 1),
    // Direct products with whole vectors and without.
    ConvolutionCase(1, size: 12, 64, 128, stride: 2), ConvolutionCase(2, size: 12, 48, 16, stride: 2),
    ConvolutionCase(2, size: 8, 32, 64, stride: 2, kernel: 1), ConvolutionCase(1, size: 6, 16, 16),
    ConvolutionCase(1, size: 7, 20, 16, stride: 3), ConvolutionCase(1, size: 8, 16, 20, stride: 2, kernel: 4),
    // Tiles that reach beyond the image: at the end of rows, of columns, of both; blocks of several images; rows of odd
    // numbers of pixels, whose pixel blocks are single pixels.
    ConvolutionCase(5, size: 6, 64, 32), ConvolutionCase(3, size: 7, 48, 16), ConvolutionCase(9, size: 5, 16, 80),
    ConvolutionCase(1, size: 30, 16, 16), ConvolutionCase(2, size: 3, 32, 32), ConvolutionCase(2, size: 2, 16, 16),
    ConvolutionCase(2, size: 8, width: 10, 32, 16, stride: 1, padding: 1),
    ConvolutionCase(2, size: 13, width: 4, 16, 48, stride: 1, padding: 1),
    ConvolutionCase(5, size: 14, 32, 48, stride: 2, padding: 1), ConvolutionCase(3, size: 14, 48, 32, stride: 2),
    ConvolutionCase(2, size: 13, 16, 32, stride: 2, padding: 1),
    ConvolutionCase(1, size: 30, 16, 16, stride: 2, padding: 1),
    ConvolutionCase(1, size: 28, width: 15, 16, 16, stride: 2, padding: 1),
    ConvolutionCase(2, size: 10, 32, 64, stride: 2, padding: 1),
    // Pointwise products: parts of an image, several images and a rest, strides and odd sizes, one or two pixel columns.
    ConvolutionCase(2, size: 32, 64, 64, stride: 1, kernel: 1, padding: 0),
    ConvolutionCase(11, size: 7, 48, 112, stride: 1, kernel: 1, padding: 0),
    ConvolutionCase(3, size: 32, 64, 128, stride: 2, kernel: 1, padding: 0),
    ConvolutionCase(9, size: 7, 64, 16, stride: 2, kernel: 1, padding: 0),
    ConvolutionCase(2, size: 9, width: 2, 16, 32, stride: 2, kernel: 1, padding: 0),
    ConvolutionCase(2, size: 8, width: 11, 32, 80, stride: 3, kernel: 1, padding: 0),
    ConvolutionCase(1, size: 1, 16, 16, stride: 2, kernel: 1, padding: 0),
  ]

  /// Returns numbers in −1 … 1, times `scale`, plus `offset`, that depend on the name only.
  func numbers(_ name: String, _ count: Int, scale: Double = 1, offset: Double = 0) -> [Float] {
    let stream = RandomStream(seed: 1, purpose: name)
    return (0..<count).map { Float(offset + scale * (2 * stream.uniform(UInt64($0)) - 1)) }
  }

  var x: [Float] { numbers("x", images * geometry.inputCount, scale: 2, offset: 0.3) }
  var weight: [Float] { numbers("weight", geometry.weightCount) }
  var bias: [Float] { numbers("bias", geometry.outputChannels) }
  var outputCount: Int { images * geometry.outputCount }
}

/// Returns the same values as Doubles.
func doubles(_ values: [Float]) -> [Double] { values.map(Double.init) }

/// Compares every element; `terms` has the sum of the absolute values of its terms.
///
/// fp32 sums of up to 1,200 products were within 3e-7 of their terms; wrong indices are off by the terms themselves.
/// Winograd's algorithm mixes the elements of a tile, so small ones share the error of their larger neighbors. With
/// `isMixed`, the largest terms of the tensor are added.
func expectClose(
  _ found: [Float], _ exact: [Double], terms: [Double], limit: Double = 1e-6, isMixed: Bool = false, _ name: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(found.count == exact.count, sourceLocation: sourceLocation)
  let floor = isMixed ? terms.max() ?? 0 : 1e-20
  for i in exact.indices where !(abs(Double(found[i]) - exact[i]) <= limit * (terms[i] + floor)) {
    Issue.record("\(name)[\(i)] is \(found[i]), not \(exact[i])", sourceLocation: sourceLocation)
    return
  }
}
