import Tensors

/// Unfolds an image into the matrix whose product with the kernel is the convolution (Chellapilla, Puri and Simard, 2006).
enum Im2Col {
  /// Writes one row an output pixel, R·S·C numbers long, zero where the kernel reaches beyond the image.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - image: One image, `HWC`.
  ///   - columns: `[P·Q, R·S·C]`.
  static func forward(
    _ geometry: ConvolutionGeometry, image: UnsafePointer<Float>,
    columns: UnsafeMutablePointer<Float>
  ) {
    forEachTapRow(geometry) { offset, leadingZeros, count, source in
      let target = columns + offset
      let tapRow = geometry.kernelSize * geometry.inputChannels
      for i in 0..<leadingZeros { target[i] = 0 }
      for i in 0..<count { target[leadingZeros + i] = image[source + i] }
      for i in leadingZeros + count..<tapRow { target[i] = 0 }
    }
  }

  /// Adds the rows of the unfolded gradient back onto the pixels they came from: the transpose of ``forward``.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - columns: `[P·Q, R·S·C]`.
  ///   - image: One image's gradient, `HWC`, overwritten.
  static func backward(
    _ geometry: ConvolutionGeometry, columns: UnsafePointer<Float>,
    image: UnsafeMutablePointer<Float>
  ) {
    image.update(repeating: 0, count: geometry.inputCount)
    forEachTapRow(geometry) { offset, leadingZeros, count, source in
      let values = columns + (offset + leadingZeros)
      for i in 0..<count { image[source + i] += values[i] }
    }
  }

  /// Visits every kernel row of every output pixel: in NHWC its S·C numbers are contiguous in the image as well, apart
  /// from zeros at the borders.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - body: Called with the row's offset in the columns, the number of leading zeros, the number of image elements
  ///     and the offset of the first in the image.
  @inline(__always)
  private static func forEachTapRow(
    _ geometry: ConvolutionGeometry,
    _ body: (_ offset: Int, _ leadingZeros: Int, _ count: Int, _ source: Int) -> Void
  ) {
    let size = geometry.kernelSize
    let channels = geometry.inputChannels
    var offset = 0
    for p in 0..<geometry.outputHeight {
      for q in 0..<geometry.outputWidth {
        let left = q * geometry.stride - geometry.paddingBefore
        let first = max(left, 0)
        let end = min(left + size, geometry.inputWidth)
        for r in 0..<size {
          let h = p * geometry.stride - geometry.paddingBefore + r
          if h >= 0 && h < geometry.inputHeight && end > first {
            body(
              offset, (first - left) * channels, (end - first) * channels,
              (h * geometry.inputWidth + first) * channels)
          } else {
            body(offset, 0, 0, 0)
          }
          offset += size * channels
        }
      }
    }
  }
}
