import Tensors

// The two-dimensional transforms of whole units. Nothing else happens in them: batch normalisation, masks and sums ride in
// linear passes before and after, which the hardware prefetches; inside the transforms they were slower by a fifth and more.
// What lies between the two directions of a transform is kept in named values, not in an array: an array would be cleared
// first, which cost five per cent of a step.

/// V = BᵀzB for every tile of a unit: `[36, T, C]` from padded images.
///
/// - Parameters:
///   - unit: The tiles.
///   - image: The first of the group's padded images.
///   - target: V.
func winogradInput(
  _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
) {
  let channels = image.pixelStride
  let positionStride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  let rowStride = image.rowStride
  var tile = target
  for n in 0..<unit.images {
    for tileRow in unit.firstTileRow..<unit.firstTileRow + unit.tileRows {
      var source = image.start + (n &* image.count &+ 4 &* tileRow &* rowStride)
      for _ in 0..<unit.tileColumns {
        for c in stride(from: 0, to: channels, by: 16) {
          transformInputTile(
            source + c, rowStride: rowStride, pixelStride: channels, tile + c, positionStride)
        }
        source += 4 &* channels
        tile += channels
      }
    }
  }
}

@inline(__always)
private func transformInputTile(
  _ x: UnsafeMutablePointer<Float>, rowStride: Int, pixelStride: Int,
  _ v: UnsafeMutablePointer<Float>, _ positionStride: Int
) {
  @inline(__always) func column(_ j: Int) -> Vectors6 {
    let x = x + j &* pixelStride
    return inputTransform(
      x.vector, (x + rowStride).vector, (x + 2 &* rowStride).vector, (x + 3 &* rowStride).vector,
      (x + 4 &* rowStride).vector, (x + 5 &* rowStride).vector)
  }
  @inline(__always) func store(_ i: Int, _ f: Vectors6) {
    storeRow(f, v + 6 &* i &* positionStride, positionStride)
  }
  let (a, b, c, d, e, f) = (column(0), column(1), column(2), column(3), column(4), column(5))
  store(0, inputTransform(a.0, b.0, c.0, d.0, e.0, f.0))
  store(1, inputTransform(a.1, b.1, c.1, d.1, e.1, f.1))
  store(2, inputTransform(a.2, b.2, c.2, d.2, e.2, f.2))
  store(3, inputTransform(a.3, b.3, c.3, d.3, e.3, f.3))
  store(4, inputTransform(a.4, b.4, c.4, d.4, e.4, f.4))
  store(5, inputTransform(a.5, b.5, c.5, d.5, e.5, f.5))
}

/// D = A dY Aᵀ for every tile of a unit: `[36, T, K]` from the inside of padded images.
///
/// - Parameters:
///   - unit: The tiles.
///   - image: The first of the group's padded images.
///   - target: D.
func winogradGradient(
  _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
) {
  let channels = image.pixelStride
  let positionStride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  let rowStride = image.rowStride
  var tile = target
  for n in 0..<unit.images {
    for tileRow in unit.firstTileRow..<unit.firstTileRow + unit.tileRows {
      var source = image.row(4 &* tileRow) + n &* image.count
      for _ in 0..<unit.tileColumns {
        for c in stride(from: 0, to: channels, by: 16) {
          transformGradientTile(
            source + c, rowStride: rowStride, pixelStride: channels, tile + c, positionStride)
        }
        source += 4 &* channels
        tile += channels
      }
    }
  }
}

@inline(__always)
private func transformGradientTile(
  _ y: UnsafeMutablePointer<Float>, rowStride: Int, pixelStride: Int,
  _ d: UnsafeMutablePointer<Float>, _ positionStride: Int
) {
  @inline(__always) func column(_ j: Int) -> Vectors6 {
    let y = y + j &* pixelStride
    return gradientTransform(
      y.vector, (y + rowStride).vector, (y + 2 &* rowStride).vector, (y + 3 &* rowStride).vector)
  }
  @inline(__always) func store(_ i: Int, _ f: Vectors6) {
    storeRow(f, d + 6 &* i &* positionStride, positionStride)
  }
  let (a, b, c, e) = (column(0), column(1), column(2), column(3))
  store(0, gradientTransform(a.0, b.0, c.0, e.0))
  store(1, gradientTransform(a.1, b.1, c.1, e.1))
  store(2, gradientTransform(a.2, b.2, c.2, e.2))
  store(3, gradientTransform(a.3, b.3, c.3, e.3))
  store(4, gradientTransform(a.4, b.4, c.4, e.4))
  store(5, gradientTransform(a.5, b.5, c.5, e.5))
}

/// y = AᵀMA for every tile of a unit: rows of pixels `[images, rows, Q, K]` from `[36, T, K]`.
///
/// - Parameters:
///   - unit: The tiles.
///   - source: M.
///   - channels: K.
///   - target: The unit's rows of the first image, then those of the next.
func winogradOutput(
  _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int,
  into target: UnsafeMutablePointer<Float>
) {
  let positionStride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  let rowStride = 4 &* unit.tileColumns &* channels
  var tile = source
  var row = target
  for _ in 0..<unit.images &* unit.tileRows {
    var pixels = row
    for _ in 0..<unit.tileColumns {
      for c in stride(from: 0, to: channels, by: 16) {
        transformOutputTile(
          tile + c, positionStride, pixels + c, rowStride: rowStride, pixelStride: channels)
      }
      tile += channels
      pixels += 4 &* channels
    }
    row += 4 &* rowStride
  }
}

@inline(__always)
private func transformOutputTile(
  _ m: UnsafePointer<Float>, _ positionStride: Int, _ y: UnsafeMutablePointer<Float>,
  rowStride: Int, pixelStride: Int
) {
  @inline(__always) func column(_ j: Int) -> Vectors4 {
    let m = m + j &* positionStride
    let step = 6 &* positionStride
    return outputTransform(
      m.vector, (m + step).vector, (m + 2 &* step).vector, (m + 3 &* step).vector,
      (m + 4 &* step).vector, (m + 5 &* step).vector)
  }
  @inline(__always) func store(_ i: Int, _ f: Vectors4) {
    let y = y + i &* rowStride
    y.store(f.0)
    (y + pixelStride).store(f.1)
    (y + 2 &* pixelStride).store(f.2)
    (y + 3 &* pixelStride).store(f.3)
  }
  let (a, b, c, d, e, f) = (column(0), column(1), column(2), column(3), column(4), column(5))
  store(0, outputTransform(a.0, b.0, c.0, d.0, e.0, f.0))
  store(1, outputTransform(a.1, b.1, c.1, d.1, e.1, f.1))
  store(2, outputTransform(a.2, b.2, c.2, d.2, e.2, f.2))
  store(3, outputTransform(a.3, b.3, c.3, d.3, e.3, f.3))
}

/// Stores a row of frequencies.
@inline(__always)
func storeRow(_ f: Vectors6, _ target: UnsafeMutablePointer<Float>, _ stride: Int) {
  target.store(f.0)
  (target + stride).store(f.1)
  (target + 2 &* stride).store(f.2)
  (target + 3 &* stride).store(f.3)
  (target + 4 &* stride).store(f.4)
  (target + 5 &* stride).store(f.5)
}

// Kernels in Winograd's form: U = G w Gᵀ, packed in panels for the matrix products, and dW = Gᵀ dU G.

/// Where U lies: `[36, columns/panel, rows, panel]`.
struct PackedWeightLayout {
  let rows: Int
  let columns: Int
  /// The columns that a register tile takes.
  let panel: Int

  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    panel = PackedGEMM.panelWidth(columns: columns)
  }

  /// From one frequency to the next.
  var positionStride: Int { rows * columns }
  /// From one panel to the next.
  var panelStride: Int { rows * panel }

  /// The place of an element within its frequency.
  func offset(row: Int, column: Int) -> Int {
    (column / panel) * panelStride + row * panel + column % panel
  }
}

/// Writes U for 16 channels, their rows of `[36, C, K]`.
///
/// - Parameters:
///   - geometry: The convolution.
///   - channel: The first channel.
///   - weight: `RSCK`.
///   - target: U.
func winogradKernel(
  _ geometry: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
  into target: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let layout = PackedWeightLayout(rows: channels, columns: filters)
  for c in channel..<channel + 16 {
    for k in stride(from: 0, to: filters, by: 16) {
      kernelVector(
        weight + (c &* filters &+ k), tapStride: channels &* filters,
        into: target + layout.offset(row: c, column: k), layout.positionStride)
    }
  }
}

/// Writes U′ of the turned kernel, for the way back, for 16 channels, their columns of `[36, K, C]`.
///
/// On the way back channels and filters change places and the kernel is rotated by half a turn.
///
/// - Parameters:
///   - geometry: The convolution.
///   - channel: The first channel.
///   - weight: `RSCK`.
///   - target: U′.
func winogradTurnedKernel(
  _ geometry: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
  into target: UnsafeMutablePointer<Float>
) {
  let layout = PackedWeightLayout(
    rows: geometry.outputChannels, columns: geometry.inputChannels)
  forEachTurnedBlock(geometry, channel: channel, weight) { k, block in
    for i in 0..<16 {
      kernelVector(
        block + i &* 16, tapStride: 256, into: target + layout.offset(row: k + i, column: channel),
        layout.positionStride)
    }
  }
}

/// Calls `body` for every 16 filters with the nine taps of 16 channels, rotated by half a turn and transposed,
/// `[9, 16 filters, 16 channels]`.
///
/// Turning the kernel moves a quarter of the numbers that turning its transform would.
@inline(__always)
func forEachTurnedBlock(
  _ geometry: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
  _ body: (_ filter: Int, _ turned: UnsafePointer<Float>) -> Void
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  var block = InlineArray<2304, Float>(repeating: 0)
  withUnsafeMutableBytes(of: &block) { bytes in
    guard let block = bytes.assumingMemoryBound(to: Float.self).baseAddress else { return }
    for k in stride(from: 0, to: filters, by: 16) {
      let w = weight + (channel * filters + k)
      for tap in 0..<9 {
        turn(w + tap * channels * filters, rowStride: filters, into: block + (8 - tap) * 256)
      }
      body(k, UnsafePointer(block))
    }
  }
}

/// Transposes a block of 16×16 numbers.
@inline(__always)
private func turn(
  _ source: UnsafePointer<Float>, rowStride: Int, into target: UnsafeMutablePointer<Float>
) {
  for row in 0..<16 {
    for column in 0..<16 { target[column &* 16 &+ row] = source[row &* rowStride &+ column] }
  }
}

/// U = G w Gᵀ for 16 columns of one row.
@inline(__always)
private func kernelVector(
  _ w: UnsafePointer<Float>, tapStride: Int, into u: UnsafeMutablePointer<Float>,
  _ positionStride: Int
) {
  @inline(__always) func column(_ s: Int) -> Vectors6 {
    kernelTransform(
      (w + s &* tapStride).vector, (w + (3 &+ s) &* tapStride).vector,
      (w + (6 &+ s) &* tapStride).vector)
  }
  @inline(__always) func store(_ i: Int, _ f: Vectors6) {
    storeRow(f, u + 6 &* i &* positionStride, positionStride)
  }
  let (a, b, c) = (column(0), column(1), column(2))
  store(0, kernelTransform(a.0, b.0, c.0))
  store(1, kernelTransform(a.1, b.1, c.1))
  store(2, kernelTransform(a.2, b.2, c.2))
  store(3, kernelTransform(a.3, b.3, c.3))
  store(4, kernelTransform(a.4, b.4, c.4))
  store(5, kernelTransform(a.5, b.5, c.5))
}

/// Writes dW = Gᵀ dU G for a block of channels and filters.
///
/// - Parameters:
///   - source: dU of the block, `[36, rows, columns]`.
///   - block: The block.
///   - weightGradient: dW, `RSCK`.
///   - geometry: The convolution.
func winogradKernelGradient(
  _ source: UnsafePointer<Float>, _ block: WeightGradientBlock,
  into weightGradient: UnsafeMutablePointer<Float>, _ geometry: ConvolutionGeometry
) {
  let filters = geometry.outputChannels
  let tapStride = geometry.inputChannels &* filters
  let target = weightGradient + (block.channel * filters + block.filter)
  for c in 0..<block.rows {
    for k in stride(from: 0, to: block.columns, by: 16) {
      kernelGradientVector(
        source + (c &* block.columns &+ k), block.positionStride,
        into: target + (c &* filters &+ k), tapStride: tapStride)
    }
  }
}

@inline(__always)
private func kernelGradientVector(
  _ u: UnsafePointer<Float>, _ positionStride: Int, into w: UnsafeMutablePointer<Float>,
  tapStride: Int
) {
  @inline(__always) func column(_ j: Int) -> Vectors3 {
    let u = u + j &* positionStride
    let step = 6 &* positionStride
    return kernelGradientTransform(
      u.vector, (u + step).vector, (u + 2 &* step).vector, (u + 3 &* step).vector,
      (u + 4 &* step).vector, (u + 5 &* step).vector)
  }
  @inline(__always) func store(_ r: Int, _ f: Vectors3) {
    let w = w + 3 &* r &* tapStride
    w.store(f.0)
    (w + tapStride).store(f.1)
    (w + 2 &* tapStride).store(f.2)
  }
  let (a, b, c, d, e, f) = (column(0), column(1), column(2), column(3), column(4), column(5))
  store(0, kernelGradientTransform(a.0, b.0, c.0, d.0, e.0, f.0))
  store(1, kernelGradientTransform(a.1, b.1, c.1, d.1, e.1, f.1))
  store(2, kernelGradientTransform(a.2, b.2, c.2, d.2, e.2, f.2))
}
