/// The pixels of an image that a sweep visits: all of them, or every other row or pixel.
struct PixelGrid {
  /// The floats from one pixel to the next.
  let pixelStride: Int
  /// The floats from one row to the next.
  let rowStride: Int

  /// Creates the grid of every `step`-th row and pixel of an image.
  init(imageWidth: Int, channels: Int, step: Int = 1) {
    self.init(pixelStride: step * channels, rowStride: step * imageWidth * channels)
  }

  /// Creates a grid from its strides.
  init(pixelStride: Int, rowStride: Int) {
    self.pixelStride = pixelStride
    self.rowStride = rowStride
  }
}
