import Support

/// The way to an image of fewer than 32 × 32 pixels.
public enum ResolutionMode: String, Codable, CaseIterable, Sendable {
  /// The mean over the area of each output pixel: for 16 × 16 pixels the mean of 2 × 2.
  case resize
  /// A window of unscaled pixels: at a random position for training, central for test images.
  case crop
}

/// The mean over areas: each output pixel is the mean of the part of the input that it covers.
///
/// With S output pixels per side, output pixel o covers 32/S input pixels, from o·32/S on. Input pixels at its ends count
/// by the covered fraction, a multiple of 1/S. All weights are multiples of 1/32 and exact in floating point.
enum AreaMean {
  /// Writes a smaller image.
  ///
  /// - Parameters:
  ///   - input: An image, `HWC` with 32 rows and columns.
  ///   - size: The rows and columns of the output, 1 … 32.
  ///   - output: The destination, `HWC`.
  static func resize(
    _ input: UnsafePointer<Float>, to size: Int, into output: UnsafeMutablePointer<Float>
  ) {
    let rowLength = 3 * ImageDataset.imageSize
    var row = InlineArray<96, Float>(repeating: 0)
    withUnsafeMutableBytes(of: &row) { bytes in
      guard let row = bytes.assumingMemoryBound(to: Float.self).baseAddress else { return }
      for y in 0..<size {
        row.update(repeating: 0, count: rowLength)
        forEachInput(of: y, size) { sourceRow, weight in
          let source = input + rowLength * sourceRow
          for i in stride(from: 0, to: rowLength, by: 8) {
            (SIMD8(loading: row + i) + weight * SIMD8(loading: source + i)).store(to: row + i)
          }
        }
        for x in 0..<size {
          var sum = SIMD4<Float>.zero
          forEachInput(of: x, size) { column, weight in
            let source = row + 3 * column
            sum += weight * SIMD4(source[0], source[1], source[2], 0)
          }
          let pixel = output + 3 * (size * y + x)
          (pixel[0], pixel[1], pixel[2]) = (sum[0], sum[1], sum[2])
        }
      }
    }
  }

  /// Calls a body with the input rows or columns that an output row or column covers, and their shares in the mean.
  @inline(__always)
  private static func forEachInput(of output: Int, _ size: Int, _ body: (_ input: Int, _ weight: Float) -> Void) {
    let inputSize = ImageDataset.imageSize
    // In units of 1/S input pixels, an input pixel is S long and an output pixel 32.
    var start = output * inputSize
    let end = start + inputSize
    var input = start / size
    while start < end {
      let next = min((input + 1) * size, end)
      body(input, Float(next - start) / Float(inputSize))
      (start, input) = (next, input + 1)
    }
  }
}
