import Tensors

/// The block sizes with which a pointwise convolution, one of 1×1 weights, is computed.
///
/// It is one product of pixels and channels, without unfolding and without transforms. At a stride, every other pixel of
/// every other row takes part.
struct PointwisePlan {
  let geometry: ConvolutionGeometry
  /// The blocks; their tiles are single pixels of the output.
  let blocking: TileBlocking

  init(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange) {
    self.geometry = geometry
    blocking = TileBlocking(
      tileRows: geometry.outputHeight, tileColumns: geometry.outputWidth, microbatches,
      targetTileCount: Self.targetPixelCount(geometry))
  }

  /// Returns whether the algorithm computes a convolution.
  static func supports(_ g: ConvolutionGeometry) -> Bool {
    g.kernelSize == 1 && g.paddingBefore == 0
      && g.outputHeight == (g.inputHeight - 1) / g.stride + 1 && g.outputWidth == (g.inputWidth - 1) / g.stride + 1
      && g.inputChannels.isMultiple(of: 16) && g.outputChannels.isMultiple(of: 16)
  }

  /// Returns the images whose pixels fill a block.
  static func imagesPerBlock(_ g: ConvolutionGeometry) -> Int {
    max(1, targetPixelCount(g) / (g.outputHeight * g.outputWidth))
  }

  /// Returns the pixels per block: as many as fill half an L2 cache with operands.
  private static func targetPixelCount(_ g: ConvolutionGeometry) -> Int {
    max(64, 96 * 1024 / (g.inputChannels + g.outputChannels))
  }

  /// The pixels of x that the convolution reads.
  var source: PixelGrid {
    PixelGrid(imageWidth: geometry.inputWidth, channels: geometry.inputChannels, step: geometry.stride)
  }
}

/// The arrays of one block in a worker's scratch memory.
struct PointwiseScratch {
  /// z, `[T, C]`.
  let input: UnsafeMutablePointer<Float>
  /// dY, `[T, K]`.
  let outputGradient: UnsafeMutablePointer<Float>
  /// y, `[T, K]`, or dZ, `[T, stride, C]`, of which only the first of each `stride` pixels is written.
  let product: UnsafeMutablePointer<Float>
  /// A row of zeros, `[W, C]`: dZ of the rows that the convolution does not read.
  let zeros: UnsafeMutablePointer<Float>
  /// The floats of all arrays together.
  let count: Int

  /// Divides scratch memory; if `start` is `nil`, only ``count`` may be used.
  init(_ plan: PointwisePlan, at start: UnsafeMutablePointer<Float>?) {
    let (g, pixels) = (plan.geometry, plan.blocking.tilesPerBlock)
    // Counting needs the distances between addresses only: the placeholder is never dereferenced.
    let base = start ?? UnsafeMutablePointer(bitPattern: 64).unsafelyUnwrapped
    input = base
    outputGradient = input + pixels * g.inputChannels
    product = outputGradient + pixels * g.outputChannels
    zeros = product + pixels * max(g.outputChannels, g.stride * g.inputChannels)
    count = (zeros - base) + (g.stride == 1 ? 0 : g.inputWidth * g.inputChannels)
  }
}

extension PointwisePlan {
  /// Packs 16 rows of a weight, `CK`, for the products of the forward pass.
  static func packWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>
  ) {
    let layout = PackedWeightLayout(rows: g.inputChannels, columns: g.outputChannels)
    for c in channel..<channel + 16 {
      for k in stride(from: 0, to: g.outputChannels, by: 16) {
        (target + layout.offset(row: c, column: k)).store((weight + (c &* g.outputChannels &+ k)).vector)
      }
    }
  }

  /// Packs 16 columns of the transposed weight, `KC`, for the products that give dZ.
  static func packFlippedWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>
  ) {
    let layout = PackedWeightLayout(rows: g.outputChannels, columns: g.inputChannels)
    for k in 0..<g.outputChannels {
      let row = target + layout.offset(row: k, column: channel)
      for c in 0..<16 { row[c] = weight[(channel &+ c) &* g.outputChannels &+ k] }
    }
  }
}
