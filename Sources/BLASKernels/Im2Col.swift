import Tensors

/// The unfolding of an image into a matrix whose product with the weight is the convolution.
///
/// Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006.
enum Im2Col {
  /// Unfolds an image: one row of R·S·C values per output pixel, zero where the weight reaches beyond the image.
  ///
  /// - Parameters:
  ///   - geometry: The sizes of the convolution.
  ///   - image: One image, `HWC`.
  ///   - columns: The unfolded image, `[P·Q, R·S·C]`; overwritten.
  static func unfold(
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

  /// Folds an unfolded gradient (col2im): sums its rows into the pixels they came from, the transpose of unfolding.
  ///
  /// - Parameters:
  ///   - geometry: The sizes of the convolution.
  ///   - columns: The unfolded gradient, `[P·Q, R·S·C]`.
  ///   - image: The gradient w.r.t. one image, `HWC`; overwritten.
  static func fold(
    _ geometry: ConvolutionGeometry, columns: UnsafePointer<Float>,
    image: UnsafeMutablePointer<Float>
  ) {
    image.update(repeating: 0, count: geometry.inputCount)
    forEachTapRow(geometry) { offset, leadingZeros, count, source in
      let values = columns + (offset + leadingZeros)
      for i in 0..<count { image[source + i] += values[i] }
    }
  }

  /// Calls `body` for every weight row of every output pixel.
  ///
  /// The S·C values of such a row are contiguous in `HWC` too, except for zeros beyond the borders.
  ///
  /// - Parameters:
  ///   - geometry: The sizes of the convolution.
  ///   - body: Called with the row's offset in the columns, the number of leading zeros, the number of image elements,
  ///     and the offset of the first of them in the image.
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
