import Tensors

/// The loops of the two-dimensional transforms: over the tiles of a tile block, and over the rows and columns of a weight.
///
/// Each calls an inlined closure for the channels of a vector. The closures do nothing but transform: batch norm, masks and sums are in
/// prologues and epilogues, whose linear sweeps the hardware prefetches. Inside the transforms they were a fifth slower.
enum TileLoops {
  /// Calls `body` for the channels of a vector of every tile of padded images.
  ///
  /// - Parameters:
  ///   - lanes: The channels of a vector.
  ///   - block: The tiles.
  ///   - image: The first of the image block's padded images.
  ///   - step: The rows and columns of pixels from one tile to the next.
  ///   - target: A stack of matrices `[positions, T, channels]`.
  ///   - body: Gets the tile's window in the image, and its element of the first position.
  @inline(__always)
  static func forEachWindow(
    lanes: Int = 16, _ block: TileBlock, _ image: PaddedImage, step: Int,
    into target: UnsafeMutablePointer<Float>,
    _ body: (_ window: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>) -> Void
  ) {
    let channels = image.pixelStride
    var tile = target
    for n in 0..<block.imageCount {
      for tileRow in block.firstTileRow..<block.firstTileRow + block.tileRows {
        var window = image.start + (n &* image.count &+ step &* tileRow &* image.rowStride)
        for _ in 0..<block.tileColumns {
          for c in stride(from: 0, to: channels, by: lanes) { body(UnsafePointer(window + c), tile + c) }
          window += step &* channels
          tile += channels
        }
      }
    }
  }

  /// Calls `body` for the channels of a vector of every tile of a block's rows of pixels.
  ///
  /// - Parameters:
  ///   - lanes: The channels of a vector.
  ///   - block: The tiles.
  ///   - source: A stack of matrices `[positions, T, channels]`.
  ///   - channels: The number of channels.
  ///   - step: The rows and columns of pixels per tile.
  ///   - target: The block's rows of the first image, then those of the next.
  ///   - body: Gets the tile's element of the first position, and its first pixel.
  @inline(__always)
  static func forEachOutput(
    lanes: Int = 16, _ block: TileBlock, _ source: UnsafePointer<Float>, channels: Int, step: Int,
    into target: UnsafeMutablePointer<Float>,
    _ body: (_ source: UnsafePointer<Float>, _ pixels: UnsafeMutablePointer<Float>) -> Void
  ) {
    let rowStride = step &* block.tileColumns &* channels
    var (tile, row) = (source, target)
    for _ in 0..<block.imageCount &* block.tileRows {
      var pixels = row
      for _ in 0..<block.tileColumns {
        for c in stride(from: 0, to: channels, by: lanes) { body(tile + c, pixels + c) }
        tile += channels
        pixels += step &* channels
      }
      row += step &* rowStride
    }
  }

  /// Calls `transform` for 16 filters of each of 16 channels: the rows of U, `[matrices, C, K]`.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - channel: The first channel.
  ///   - weight: `RSCK`.
  ///   - target: U.
  ///   - transform: Gets the first tap, the floats from one tap to the next, the element of the first matrix, and the
  ///     floats from one matrix to the next.
  @inline(__always)
  static func forEachWeightVector(
    _ geometry: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>,
    _ transform: (
      _ taps: UnsafePointer<Float>, _ tapStride: Int, _ target: UnsafeMutablePointer<Float>, _ matrixStride: Int
    ) -> Void
  ) {
    let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let layout = PackedWeightLayout(rows: channels, columns: filters)
    for c in channel..<channel + 16 {
      for k in stride(from: 0, to: filters, by: 16) {
        transform(
          weight + (c &* filters &+ k), channels &* filters, target + layout.offset(row: c, column: k),
          layout.matrixStride)
      }
    }
  }

  /// Calls `transform` for 16 channels of every filter of the flipped weight: columns of U′, `[matrices, K, C]`.
  ///
  /// Flipping the weight moves a quarter of the numbers that flipping its transform would.
  ///
  /// - Parameters:
  ///   - geometry: The convolution.
  ///   - channel: The first channel.
  ///   - weight: `RSCK`.
  ///   - target: U′.
  ///   - transform: As in ``forEachWeightVector(_:channel:_:into:_:)``.
  @inline(__always)
  static func forEachFlippedWeightVector(
    _ geometry: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>,
    _ transform: (
      _ taps: UnsafePointer<Float>, _ tapStride: Int, _ target: UnsafeMutablePointer<Float>, _ matrixStride: Int
    ) -> Void
  ) {
    let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let layout = PackedWeightLayout(rows: filters, columns: channels)
    // The weight patch of 16 filters and 16 channels: `[9 taps, 16 filters, 16 channels]`, the last tap first.
    var patch = InlineArray<2304, Float>(repeating: 0)
    withUnsafeMutableBytes(of: &patch) { bytes in
      guard let patch = bytes.assumingMemoryBound(to: Float.self).baseAddress else { return }
      for k in stride(from: 0, to: filters, by: 16) {
        let w = weight + (channel * filters + k)
        for tap in 0..<9 {
          transpose(w + tap * channels * filters, rowStride: filters, into: patch + (8 - tap) * 256)
        }
        for i in 0..<16 {
          transform(
            UnsafePointer(patch) + i &* 16, 256, target + layout.offset(row: k + i, column: channel),
            layout.matrixStride)
        }
      }
    }
  }

  /// Transposes a block of 16×16 numbers.
  @inline(__always)
  private static func transpose(
    _ source: UnsafePointer<Float>, rowStride: Int, into target: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<16 {
      for column in 0..<16 { target[column &* 16 &+ row] = source[row &* rowStride &+ column] }
    }
  }

  /// Calls `transform` for 16 filters of each channel of a block of dU.
  ///
  /// - Parameters:
  ///   - source: dU of the block, `[matrices, rows, columns]`.
  ///   - block: The block.
  ///   - weightGradient: dW, `RSCK`.
  ///   - geometry: The convolution.
  ///   - transform: Gets the element of the first matrix, the floats from one matrix to the next, the first tap, and the
  ///     floats from one tap to the next.
  @inline(__always)
  static func forEachWeightGradientVector(
    _ source: UnsafePointer<Float>, _ block: WeightGradientBlock,
    into weightGradient: UnsafeMutablePointer<Float>, _ geometry: ConvolutionGeometry,
    _ transform: (
      _ source: UnsafePointer<Float>, _ matrixStride: Int, _ taps: UnsafeMutablePointer<Float>, _ tapStride: Int
    ) -> Void
  ) {
    let filters = geometry.outputChannels
    let tapStride = geometry.inputChannels &* filters
    let target = weightGradient + (block.channel * filters + block.filter)
    for c in 0..<block.rows {
      for k in stride(from: 0, to: block.columns, by: 16) {
        transform(
          source + (c &* block.columns &+ k), block.matrixStride, target + (c &* filters &+ k), tapStride)
      }
    }
  }
}
