import Tensors

/// How one convolution of a microbatch goes through a tile algorithm.
struct TransformPlan<Algorithm: TileAlgorithm> {
  let geometry: ConvolutionGeometry
  /// Units of about 32 tiles.
  ///
  /// They stay in the second-level cache and keep the matrix products at full speed: with 16 tiles those lost a tenth, with
  /// 64 the way back did.
  let tiles: TilePlan
  /// Whether a kernel's gradient comes from one unit and is finished block by block.
  let hasOneUnit: Bool

  init(_ geometry: ConvolutionGeometry, imageCount: Int) {
    self.geometry = geometry
    tiles = TilePlan(geometry, imageCount: imageCount, wantedTiles: 32)
    hasOneUnit = tiles.hasOneUnit(imageCount: imageCount)
  }

  /// The blocks in which a kernel's gradient is formed.
  var blocks: KernelBlocks { KernelBlocks(geometry, isWhole: !hasOneUnit) }
}

/// Where the numbers of one unit lie in a worker's scratch memory.
struct TileMemory<Algorithm: TileAlgorithm> {
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
  init(_ plan: TransformPlan<Algorithm>, at start: UnsafeMutablePointer<Float>?) {
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
      * TileUnit.frequencyStride(
        rows: plan.tiles.tilesPerUnit, columns: max(g.inputChannels, g.outputChannels))
    second = first + stack
    kernelGradient = second + stack
    let blocks = plan.blocks
    count =
      (kernelGradient - base)
      + Algorithm.matrices * TileUnit.frequencyStride(rows: blocks.rows, columns: blocks.columns)
  }
}
