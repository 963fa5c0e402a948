import Tensors

/// How one convolution of a span of microbatches goes through a tile algorithm.
struct TiledPlan<Algorithm: TiledAlgorithm> {
  let geometry: ConvolutionGeometry
  let tiles: TileBlocking

  init(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) {
    self.geometry = geometry
    tiles = TileBlocking(geometry, microbatches, targetTileCount: Self.targetTileCount(geometry))
  }

  /// The images whose tiles make a unit of the size that is wanted.
  static func imagesPerUnit(_ g: ConvolutionGeometry) -> Int {
    max(1, 16 * targetTileCount(g) / (g.outputHeight * g.outputWidth))
  }

  /// The tiles of a unit.
  ///
  /// About 32 tiles stay in the second-level cache and keep the matrix products at full speed: with 16 those lost a tenth,
  /// with 64 the way back did. But a large kernel is read from memory for every unit, and where each of its matrices
  /// serves one position only, 64 tiles pay: forward passes with 640 × 640 kernels became a third faster with AVX2.
  private static func targetTileCount(_ g: ConvolutionGeometry) -> Int {
    Algorithm.matrices == Algorithm.positions && hasLargeKernel(g) ? 64 : 32
  }

  /// Whether a transformed kernel is larger than what a core has of the caches, 4 MiB.
  ///
  /// With kernels of 2 MiB, streaming made forward passes slower by 2 to 4 per cent.
  private static func hasLargeKernel(_ g: ConvolutionGeometry) -> Bool {
    4 * Algorithm.matrices * g.inputChannels * g.outputChannels > 4 << 20
  }

  /// Whether products had better stream the kernel.
  var streamsKernel: Bool { Self.hasLargeKernel(geometry) }

  /// The blocks in which a kernel's gradient is formed.
  var blocks: WeightGradientBlocking { WeightGradientBlocking(geometry, isWhole: !tiles.coversMicrobatch) }
}

/// Where the numbers of one unit lie in a worker's scratch memory.
struct TiledScratch<Algorithm: TiledAlgorithm> {
  /// The group's padded input images, z.
  let input: PaddedImage
  /// The group's padded output gradients, dY.
  let outputGradient: PaddedImage
  /// V, the transformed input; later M of the way back, or y on the way forward.
  let first: UnsafeMutablePointer<Float>
  /// M on the way forward; D and then E, the transformed output gradients, and dZ on the way back.
  let second: UnsafeMutablePointer<Float>
  /// dU: the transformed kernel's gradient, or a block of it.
  let kernelGradient: UnsafeMutablePointer<Float>
  /// The floats of all of these.
  let count: Int

  /// Divides scratch memory; with nil, only counts.
  init(_ plan: TiledPlan<Algorithm>, at start: UnsafeMutablePointer<Float>?) {
    let g = plan.geometry
    let borders = Algorithm.borders(g)
    // To count, places are formed from an address that nobody reads.
    let base = start ?? UnsafeMutablePointer(bitPattern: 64).unsafelyUnwrapped
    input = PaddedImage(
      start: base, height: g.inputHeight, width: g.inputWidth, pixelStride: g.inputChannels,
      before: borders.input.before, after: borders.input.after)
    outputGradient = PaddedImage(
      start: base + plan.tiles.imagesPerGroup * input.count, height: g.outputHeight,
      width: g.outputWidth, pixelStride: g.outputChannels, before: borders.outputGradient.before,
      after: borders.outputGradient.after)
    first = outputGradient.start + plan.tiles.imagesPerGroup * outputGradient.count
    let stack =
      Algorithm.positions
      * TileBlock.positionStride(
        rows: plan.tiles.tilesPerUnit, columns: max(g.inputChannels, g.outputChannels))
    second = first + stack
    kernelGradient = second + stack
    let blocks = plan.blocks
    count =
      (kernelGradient - base)
      + Algorithm.matrices * TileBlock.positionStride(rows: blocks.rows, columns: blocks.columns)
  }
}

/// How the transformed gradient of a kernel, dU, is cut so that what is at work stays in the second-level cache.
///
/// A dU that is the sum over several units is kept whole. One that comes from a single unit is formed and transformed back
/// in blocks of 32 channels and 64 filters and never exists as a whole: at 8×8 pixels and 256 channels that saved a sixth
/// of the way back.
struct WeightGradientBlocking {
  /// The rows (channels) of the largest block.
  let rows: Int
  /// The columns (filters) of a block.
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

/// A block of a transformed kernel's gradient, `[F, rows, columns]`.
struct WeightGradientBlock {
  /// The first channel.
  let channel: Int
  /// The first filter.
  let filter: Int
  /// Channels.
  let rows: Int
  /// Filters.
  let columns: Int

  /// From one frequency to the next.
  var positionStride: Int { TileBlock.positionStride(rows: rows, columns: columns) }
}
