/// An image in scratch memory with a border of zeros, so that transforms and GEMMs never test for edges.
struct PaddedImage {
  /// The first pixel of the border.
  let start: UnsafeMutablePointer<Float>
  /// Rows without the border.
  let height: Int
  /// Columns without the border.
  let width: Int
  /// Floats per pixel: the channels, or more.
  let pixelStride: Int
  /// The zeros around the image.
  let border: Border

  /// Rows and columns of zeros before the first.
  var before: Int { border.before }
  /// The floats of this image with its border.
  var count: Int { (height + before + border.afterRows) * rowStride }
  /// The floats per row with its border.
  var rowStride: Int { (width + before + border.afterColumns) * pixelStride }
  /// Returns the first pixel of row `y` inside the border.
  func row(_ y: Int) -> UnsafeMutablePointer<Float> {
    start + ((y + before) * rowStride + before * pixelStride)
  }
  /// Returns the image that follows `n` images later in memory.
  func advanced(by n: Int) -> PaddedImage {
    PaddedImage(start: start + n * count, height: height, width: width, pixelStride: pixelStride, border: border)
  }

  /// Clears the border, and the channels beyond `channels` that pad a pixel.
  func clear(channels: Int) {
    if channels < pixelStride {
      start.update(repeating: 0, count: count)
      return
    }
    start.update(repeating: 0, count: before * rowStride)
    row(height).advanced(by: -before * pixelStride).update(repeating: 0, count: border.afterRows * rowStride)
    for y in 0..<height {
      (row(y) - before * pixelStride).update(repeating: 0, count: before * pixelStride)
      (row(y) + width * pixelStride).update(repeating: 0, count: border.afterColumns * pixelStride)
    }
  }
}

/// The rows and columns of zeros around an image.
struct Border {
  /// Rows above the first, and as many columns before the first.
  let before: Int
  /// Rows below the last.
  let afterRows: Int
  /// Columns after the last.
  let afterColumns: Int

  /// No zeros.
  static var none: Border { Border(before: 0, afterRows: 0, afterColumns: 0) }
}
