import Tensors

/// The block sizes with which a tiled algorithm computes one convolution of a range of microbatches.
struct TiledPlan<Algorithm: TiledAlgorithm> {
  let geometry: ConvolutionGeometry
  let blocking: TileBlocking

  init(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) {
    self.geometry = geometry
    let (rows, columns) = Self.tiles(geometry)
    blocking = TileBlocking(
      tileRows: rows, tileColumns: columns, microbatches, targetTileCount: Self.targetTileCount(geometry))
  }

  /// Returns the rows and columns of tiles that cover an image.
  private static func tiles(_ g: ConvolutionGeometry) -> (rows: Int, columns: Int) {
    ((g.outputHeight + 3) / 4, (g.outputWidth + 3) / 4)
  }

  /// Returns the share of the tiles' pixels that are pixels of the output.
  ///
  /// The rest is computed in vain. Where tiles save less than they waste, direct products are faster: polyphase tiles of
  /// 6×6 outputs, of which 56 % count, made a backward pass 30 % slower.
  static func coverage(_ g: ConvolutionGeometry) -> Double {
    let (rows, columns) = tiles(g)
    return Double(g.outputHeight * g.outputWidth) / Double(16 * rows * columns)
  }

  /// Returns the images whose tiles fill a tile block.
  static func imagesPerTileBlock(_ g: ConvolutionGeometry) -> Int {
    let (rows, columns) = tiles(g)
    return max(1, targetTileCount(g) / (rows * columns))
  }

  /// Whether tiles cover input and output exactly, so that they may be written to their destination.
  var hasWholeTiles: Bool {
    let (rows, columns) = (4 * blocking.tileRows, 4 * blocking.tileColumns)
    return rows == geometry.outputHeight && columns == geometry.outputWidth
      && Algorithm.stride * rows == geometry.inputHeight && Algorithm.stride * columns == geometry.inputWidth
  }

  /// Returns the tiles per tile block.
  ///
  /// About 32 tiles stay in the L2 cache and keep GEMMs at full speed: 16 slow the GEMMs by 10 %, 64 slow the backward
  /// pass by 10 %. But a large weight is read from memory once per tile block. Where each of its matrices serves one
  /// position only, 64 tiles pay: forward passes with 640×640 weights became a third faster with AVX2.
  private static func targetTileCount(_ g: ConvolutionGeometry) -> Int {
    Algorithm.weightMatrixCount == Algorithm.positionCount && hasLargeWeight(g) ? 64 : 32
  }

  /// Returns whether a transformed weight is larger than a core's share of the caches, 4 MiB.
  ///
  /// With weights of 2 MiB, streaming made forward passes slower by 2 to 4 %.
  private static func hasLargeWeight(_ g: ConvolutionGeometry) -> Bool {
    4 * Algorithm.weightMatrixCount * g.inputChannels * g.outputChannels > 4 << 20
  }

  /// Whether GEMMs should stream the weight.
  var streamsWeight: Bool { Self.hasLargeWeight(geometry) }

  /// The blocks in which the weight gradient is formed.
  var weightGradientBlocking: WeightGradientBlocking {
    WeightGradientBlocking(geometry, isWhole: !blocking.coversMicrobatch)
  }
}

/// The arrays of one image block in a worker's scratch memory.
struct TiledScratch<Algorithm: TiledAlgorithm> {
  /// z, the block's padded input images.
  let input: PaddedImage
  /// dY, the block's padded output gradients.
  let outputGradient: PaddedImage
  /// V, the transformed input; then y (forward) or M (backward).
  let stagingA: UnsafeMutablePointer<Float>
  /// M (forward), or D, then E, the transformed output gradients, then dZ (backward).
  let stagingB: UnsafeMutablePointer<Float>
  /// dU, the gradient of the transformed weight, or a block of it.
  let transformedWeightGradient: UnsafeMutablePointer<Float>
  /// The floats of all arrays together.
  let count: Int

  /// Divides scratch memory; if `start` is `nil`, only ``count`` may be used.
  init(_ plan: TiledPlan<Algorithm>, at start: UnsafeMutablePointer<Float>?) {
    let g = plan.geometry
    let before = Algorithm.zerosBefore(g)
    // Windows of whole tiles reach beyond the last row and column.
    func border(_ before: Int, _ height: Int, _ width: Int, step: Int) -> Border {
      let excess = Algorithm.windowOverlap - before
      return Border(
        before: before, afterRows: step * plan.blocking.tileRows + excess - height,
        afterColumns: step * plan.blocking.tileColumns + excess - width)
    }
    // Counting needs the distances between addresses only: the placeholder is never dereferenced.
    let base = start ?? UnsafeMutablePointer(bitPattern: 64).unsafelyUnwrapped
    input = PaddedImage(
      start: base, height: g.inputHeight, width: g.inputWidth, pixelStride: g.inputChannels,
      border: border(before.input, g.inputHeight, g.inputWidth, step: 4 * Algorithm.stride))
    outputGradient = PaddedImage(
      start: base + plan.blocking.imagesPerBlock * input.count, height: g.outputHeight,
      width: g.outputWidth, pixelStride: g.outputChannels,
      border: border(before.outputGradient, g.outputHeight, g.outputWidth, step: 4))
    stagingA = outputGradient.start + plan.blocking.imagesPerBlock * outputGradient.count
    let stack =
      Algorithm.positionCount
      * TileBlock.positionStride(
        rows: plan.blocking.tilesPerBlock, columns: max(g.inputChannels, g.outputChannels))
    stagingB = stagingA + stack
    transformedWeightGradient = stagingB + stack
    let blocks = plan.weightGradientBlocking
    count =
      (transformedWeightGradient - base)
      + Algorithm.weightMatrixCount * TileBlock.positionStride(rows: blocks.rows, columns: blocks.columns)
  }
}

/// The division of dU, the gradient of a transformed weight, into blocks that stay in the L2 cache.
///
/// A dU that is the sum over several tile blocks is kept whole. One from a single tile block is formed and transformed in
/// blocks of 32 channels and up to 64 filters, so the whole is never in memory: at 8×8 pixels and 256 channels, that saved
/// a sixth of the backward pass.
struct WeightGradientBlocking {
  /// The rows (channels) of the largest block.
  let rows: Int
  /// The columns (filters) per block.
  let columns: Int
  private let channels: Int
  private let filters: Int

  init(_ geometry: ConvolutionGeometry, isWhole: Bool) {
    (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
    let width = filters.isMultiple(of: 64) ? 64 : filters.isMultiple(of: 32) ? 32 : 16
    (rows, columns) = isWhole ? (channels, filters) : (min(32, channels), width)
  }

  /// Calls `body` for every block.
  @inline(__always)
  func forEachBlock(_ body: (WeightGradientBlock) -> Void) {
    for filter in stride(from: 0, to: filters, by: columns) {
      for channel in stride(from: 0, to: channels, by: rows) {
        body(
          WeightGradientBlock(
            channel: channel, filter: filter, rows: min(rows, channels - channel), columns: columns))
      }
    }
  }
}

/// A block of dU, `[matrices, rows, columns]`.
struct WeightGradientBlock {
  /// The first channel.
  let channel: Int
  /// The first filter.
  let filter: Int
  /// The number of channels.
  let rows: Int
  /// The number of filters.
  let columns: Int

  /// The floats from one matrix to the next.
  var matrixStride: Int { TileBlock.positionStride(rows: rows, columns: columns) }
}
