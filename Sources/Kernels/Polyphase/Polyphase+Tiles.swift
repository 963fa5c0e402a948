import Tensors

// The two-dimensional transforms of whole units for stride 2, in the order of positions that `Polyphase` describes.

/// The first position of each family.
private enum Family {
  static var evenOdd: Int { 25 }
  static var oddEven: Int { 45 }
  static var oddOdd: Int { 65 }
}

/// V: every tile's 9×9 input pixels by phases, `[81, T, C]` from padded images.
///
/// - Parameters:
///   - unit: The tiles.
///   - image: The first of the group's padded images.
///   - target: V.
func polyphaseInput(
  _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
) {
  let channels = image.pixelStride
  let stride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  forEachTileVector(unit, image, step: 8, target) { x, v in
    let (row, pixel) = (image.rowStride, channels)
    @inline(__always) func even(_ j: Int) -> Vectors5 {
      let x = x + j &* pixel
      return evenInputTransform(
        x.vector, (x + 2 &* row).vector, (x + 4 &* row).vector, (x + 6 &* row).vector,
        (x + 8 &* row).vector)
    }
    storeEvenEven(even(0), even(2), even(4), even(6), even(8), v, stride)
    for c in 0..<4 { storeColumn(even(2 &* c &+ 1), v + (Family.evenOdd &+ c) &* stride, 4 &* stride) }
    for r in 0..<4 {
      let x = x + (2 &* r &+ 1) &* row
      let f = evenInputTransform(
        x.vector, (x + 2 &* pixel).vector, (x + 4 &* pixel).vector, (x + 6 &* pixel).vector,
        (x + 8 &* pixel).vector)
      storeColumn(f, v + (Family.oddEven &+ r) &* stride, 4 &* stride)
      for c in 0..<4 {
        (v + (Family.oddOdd &+ 4 &* r &+ c) &* stride).store((x + (2 &* c &+ 1) &* pixel).vector)
      }
    }
  }
}

/// E: every tile's window of 5×5 output gradients, `[81, T, K]`, for the products that give dZ.
///
/// - Parameters:
///   - unit: The tiles.
///   - image: The first of the group's padded output gradients.
///   - target: E.
func polyphaseGradientWindow(
  _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
) {
  let channels = image.pixelStride
  let stride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  // Where in the window the 4×4 gradients lie that meet the single tap.
  let offset = image.before
  forEachTileVector(unit, image, step: 4, target) { y, e in
    let (row, pixel) = (image.rowStride, channels)
    @inline(__always) func column(_ j: Int) -> Vectors5 {
      let y = y + j &* pixel
      return evenInputTransform(
        y.vector, (y + row).vector, (y + 2 &* row).vector, (y + 3 &* row).vector,
        (y + 4 &* row).vector)
    }
    storeEvenEven(column(0), column(1), column(2), column(3), column(4), e, stride)
    for c in 0..<4 { storeColumn(column(c &+ offset), e + (Family.evenOdd &+ c) &* stride, 4 &* stride) }
    for r in 0..<4 {
      let y = y + (r &+ offset) &* row
      let f = evenInputTransform(
        y.vector, (y + pixel).vector, (y + 2 &* pixel).vector, (y + 3 &* pixel).vector,
        (y + 4 &* pixel).vector)
      storeColumn(f, e + (Family.oddEven &+ r) &* stride, 4 &* stride)
      for c in 0..<4 {
        (e + (Family.oddOdd &+ 4 &* r &+ c) &* stride).store((y + (c &+ offset) &* pixel).vector)
      }
    }
  }
}

/// D: every tile's 4×4 output gradients, `[81, T, K]`, for the products that give dU.
///
/// - Parameters:
///   - unit: The tiles.
///   - image: The first of the group's padded output gradients.
///   - target: D.
func polyphaseGradient(
  _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
) {
  let channels = image.pixelStride
  let stride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  let inside = image.before &* (image.rowStride &+ channels)
  forEachTileVector(unit, image, step: 4, target) { y, d in
    let (row, pixel) = (image.rowStride, channels)
    let y = y + inside
    @inline(__always) func column(_ j: Int) -> Vectors5 {
      let y = y + j &* pixel
      return evenGradientTransform(
        y.vector, (y + row).vector, (y + 2 &* row).vector, (y + 3 &* row).vector)
    }
    let (a, b, c, e) = (column(0), column(1), column(2), column(3))
    @inline(__always) func store(_ i: Int, _ f: Vectors5) { storeColumn(f, d + 5 &* i &* stride, stride) }
    store(0, evenGradientTransform(a.0, b.0, c.0, e.0))
    store(1, evenGradientTransform(a.1, b.1, c.1, e.1))
    store(2, evenGradientTransform(a.2, b.2, c.2, e.2))
    store(3, evenGradientTransform(a.3, b.3, c.3, e.3))
    store(4, evenGradientTransform(a.4, b.4, c.4, e.4))
    let evenOdd = d + Family.evenOdd &* stride
    storeColumn(a, evenOdd, 4 &* stride)
    storeColumn(b, evenOdd + stride, 4 &* stride)
    storeColumn(c, evenOdd + 2 &* stride, 4 &* stride)
    storeColumn(e, evenOdd + 3 &* stride, 4 &* stride)
    for r in 0..<4 {
      let y = y + r &* row
      let p = (y.vector, (y + pixel).vector, (y + 2 &* pixel).vector, (y + 3 &* pixel).vector)
      storeColumn(
        evenGradientTransform(p.0, p.1, p.2, p.3), d + (Family.oddEven &+ r) &* stride, 4 &* stride)
      storeRow(p, d + (Family.oddOdd &+ 4 &* r) &* stride, stride)
    }
  }
}

/// y: rows of pixels `[images, rows, Q, K]` from the products M, `[81, T, K]`.
///
/// - Parameters:
///   - unit: The tiles.
///   - source: M.
///   - channels: K.
///   - target: The unit's rows of the first image, then those of the next.
func polyphaseOutput(
  _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int,
  into target: UnsafeMutablePointer<Float>
) {
  let stride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  let rowStride = 4 &* unit.tileColumns &* channels
  forEachOutputVector(unit, source, channels: channels, step: 4, target) { m, y in
    // Rows even: columns go back first, then both families together along the rows.
    @inline(__always) func evenRow(_ i: Int) -> Vectors4 {
      let f = horizontal(m + 5 &* i &* stride, stride)
      let other = m + (Family.evenOdd &+ 4 &* i) &* stride
      return (
        f.0 + other.vector, f.1 + (other + stride).vector, f.2 + (other + 2 &* stride).vector,
        f.3 + (other + 3 &* stride).vector
      )
    }
    @inline(__always) func store(_ r: Int, _ f: Vectors4) {
      let odd = horizontal(m + (Family.oddEven &+ r) &* stride, 4 &* stride)
      let other = m + (Family.oddOdd &+ 4 &* r) &* stride
      storeRow(
        (
          f.0 + (odd.0 + other.vector), f.1 + (odd.1 + (other + stride).vector),
          f.2 + (odd.2 + (other + 2 &* stride).vector), f.3 + (odd.3 + (other + 3 &* stride).vector)
        ), y + r &* rowStride, channels)
    }
    let (a, b, c, d, e) = (evenRow(0), evenRow(1), evenRow(2), evenRow(3), evenRow(4))
    let columns = (
      evenOutputTransform(a.0, b.0, c.0, d.0, e.0), evenOutputTransform(a.1, b.1, c.1, d.1, e.1),
      evenOutputTransform(a.2, b.2, c.2, d.2, e.2), evenOutputTransform(a.3, b.3, c.3, d.3, e.3)
    )
    store(0, (columns.0.0, columns.1.0, columns.2.0, columns.3.0))
    store(1, (columns.0.1, columns.1.1, columns.2.1, columns.3.1))
    store(2, (columns.0.2, columns.1.2, columns.2.2, columns.3.2))
    store(3, (columns.0.3, columns.1.3, columns.2.3, columns.3.3))
  }
}

/// dZ: rows of pixels `[images, 2·rows, W, C]` from the products M, `[81, T, C]`; the families do not meet here.
///
/// - Parameters:
///   - unit: The tiles.
///   - source: M.
///   - channels: C.
///   - evenPhase: The rows and columns, modulo 2, that two taps reach.
///   - target: The unit's rows of the first image, then those of the next.
func polyphaseInputGradient(
  _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int, evenPhase: Int,
  into target: UnsafeMutablePointer<Float>
) {
  let stride = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  let rowStride = 8 &* unit.tileColumns &* channels
  let pixel = 2 &* channels
  let (even, odd) = (evenPhase, 1 &- evenPhase)
  forEachOutputVector(unit, source, channels: channels, step: 8, target) { m, z in
    let evenRows = z + even &* rowStride
    let oddRows = z + odd &* rowStride
    let (a, b, c, d, e) = (
      horizontal(m, stride), horizontal(m + 5 &* stride, stride), horizontal(m + 10 &* stride, stride),
      horizontal(m + 15 &* stride, stride), horizontal(m + 20 &* stride, stride)
    )
    @inline(__always) func storeVertically(_ f: Vectors4, _ z: UnsafeMutablePointer<Float>) {
      storeRow(f, z, 2 &* rowStride)
    }
    let evenEven = evenRows + even &* channels
    storeVertically(evenOutputTransform(a.0, b.0, c.0, d.0, e.0), evenEven)
    storeVertically(evenOutputTransform(a.1, b.1, c.1, d.1, e.1), evenEven + pixel)
    storeVertically(evenOutputTransform(a.2, b.2, c.2, d.2, e.2), evenEven + 2 &* pixel)
    storeVertically(evenOutputTransform(a.3, b.3, c.3, d.3, e.3), evenEven + 3 &* pixel)
    for c in 0..<4 {
      let f = horizontal(m + (Family.evenOdd &+ c) &* stride, 4 &* stride)
      storeVertically(f, evenRows + odd &* channels + c &* pixel)
    }
    for r in 0..<4 {
      let z = oddRows + 2 &* r &* rowStride
      storeRow(
        horizontal(m + (Family.oddEven &+ r) &* stride, 4 &* stride), z + even &* channels, pixel)
      let other = m + (Family.oddOdd &+ 4 &* r) &* stride
      storeRow(
        (
          other.vector, (other + stride).vector, (other + 2 &* stride).vector,
          (other + 3 &* stride).vector
        ), z + odd &* channels, pixel)
    }
  }
}

/// Aᵀ of five vectors at a stride.
@inline(__always)
private func horizontal(_ m: UnsafePointer<Float>, _ stride: Int) -> Vectors4 {
  evenOutputTransform(
    m.vector, (m + stride).vector, (m + 2 &* stride).vector, (m + 3 &* stride).vector,
    (m + 4 &* stride).vector)
}

/// The family of 5×5: five columns, each transformed along the rows, are transformed along the columns and stored.
@inline(__always)
private func storeEvenEven(
  _ a: Vectors5, _ b: Vectors5, _ c: Vectors5, _ d: Vectors5, _ e: Vectors5, _ v: UnsafeMutablePointer<Float>,
  _ stride: Int
) {
  storeColumn(evenInputTransform(a.0, b.0, c.0, d.0, e.0), v, stride)
  storeColumn(evenInputTransform(a.1, b.1, c.1, d.1, e.1), v + 5 &* stride, stride)
  storeColumn(evenInputTransform(a.2, b.2, c.2, d.2, e.2), v + 10 &* stride, stride)
  storeColumn(evenInputTransform(a.3, b.3, c.3, d.3, e.3), v + 15 &* stride, stride)
  storeColumn(evenInputTransform(a.4, b.4, c.4, d.4, e.4), v + 20 &* stride, stride)
}

@inline(__always)
private func storeColumn(_ f: Vectors5, _ target: UnsafeMutablePointer<Float>, _ stride: Int) {
  target.store(f.0)
  (target + stride).store(f.1)
  (target + 2 &* stride).store(f.2)
  (target + 3 &* stride).store(f.3)
  (target + 4 &* stride).store(f.4)
}

@inline(__always)
private func storeRow(_ f: Vectors4, _ target: UnsafeMutablePointer<Float>, _ stride: Int) {
  target.store(f.0)
  (target + stride).store(f.1)
  (target + 2 &* stride).store(f.2)
  (target + 3 &* stride).store(f.3)
}

/// Calls `body` for 16 channels of every tile: where its window starts in the padded image, and its place in `[F, T, C]`.
@inline(__always)
private func forEachTileVector(
  _ unit: TileBlock, _ image: PaddedImage, step: Int, _ target: UnsafeMutablePointer<Float>,
  _ body: (UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void
) {
  let channels = image.pixelStride
  var tile = target
  for n in 0..<unit.images {
    for tileRow in unit.firstTileRow..<unit.firstTileRow + unit.tileRows {
      var source = image.start + (n &* image.count &+ step &* tileRow &* image.rowStride)
      for _ in 0..<unit.tileColumns {
        for c in stride(from: 0, to: channels, by: 16) { body(UnsafePointer(source + c), tile + c) }
        source += step &* channels
        tile += channels
      }
    }
  }
}

/// Calls `body` for 16 channels of every tile: its place in `[F, T, C]`, and its first pixel in the unit's rows.
@inline(__always)
private func forEachOutputVector(
  _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int, step: Int,
  _ target: UnsafeMutablePointer<Float>,
  _ body: (UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void
) {
  let rowStride = step &* unit.tileColumns &* channels
  var (tile, row) = (source, target)
  for _ in 0..<unit.images &* unit.tileRows {
    var pixels = row
    for _ in 0..<unit.tileColumns {
      for c in stride(from: 0, to: channels, by: 16) { body(tile + c, pixels + c) }
      tile += channels
      pixels += step &* channels
    }
    row += step &* rowStride
  }
}

// Kernels of stride 2 by phases: 36 matrices, packed in panels for the matrix products, and back.

/// Writes U for 16 channels, their rows of `[36, C, K]`.
///
/// - Parameters:
///   - geometry: The convolution.
///   - channel: The first channel.
///   - weight: `RSCK`.
///   - target: U.
func polyphaseKernel(
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
func polyphaseTurnedKernel(
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

@inline(__always)
private func kernelVector(
  _ w: UnsafePointer<Float>, tapStride: Int, into u: UnsafeMutablePointer<Float>, _ stride: Int
) {
  @inline(__always) func tap(_ r: Int, _ s: Int) -> Vector { (w + (3 &* r &+ s) &* tapStride).vector }
  @inline(__always) func store(_ f: Vectors5, _ first: Int, _ step: Int) {
    let u = u + first &* stride
    let stride = step &* stride
    u.store(f.0)
    (u + stride).store(f.1)
    (u + 2 &* stride).store(f.2)
    (u + 3 &* stride).store(f.3)
    (u + 4 &* stride).store(f.4)
  }
  let (left, right) = (evenKernelTransform(tap(0, 0), tap(2, 0)), evenKernelTransform(tap(0, 2), tap(2, 2)))
  store(evenKernelTransform(left.0, right.0), 0, 1)
  store(evenKernelTransform(left.1, right.1), 5, 1)
  store(evenKernelTransform(left.2, right.2), 10, 1)
  store(evenKernelTransform(left.3, right.3), 15, 1)
  store(evenKernelTransform(left.4, right.4), 20, 1)
  store(evenKernelTransform(tap(0, 1), tap(2, 1)), 25, 1)
  store(evenKernelTransform(tap(1, 0), tap(1, 2)), 30, 1)
  (u + 35 &* stride).store(tap(1, 1))
}

/// Writes dW for a block of channels and filters.
///
/// - Parameters:
///   - source: dU of the block, `[36, rows, columns]`.
///   - block: The block.
///   - weightGradient: dW, `RSCK`.
///   - geometry: The convolution.
func polyphaseKernelGradient(
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
  _ u: UnsafePointer<Float>, _ stride: Int, into w: UnsafeMutablePointer<Float>, tapStride: Int
) {
  @inline(__always) func back(_ first: Int) -> Vectors2 {
    let u = u + first &* stride
    return evenKernelGradientTransform(
      u.vector, (u + stride).vector, (u + 2 &* stride).vector, (u + 3 &* stride).vector,
      (u + 4 &* stride).vector)
  }
  @inline(__always) func store(_ r: Int, _ s: Int, _ value: Vector) {
    (w + (3 &* r &+ s) &* tapStride).store(value)
  }
  let (a, b, c, d, e) = (back(0), back(5), back(10), back(15), back(20))
  let left = evenKernelGradientTransform(a.0, b.0, c.0, d.0, e.0)
  let right = evenKernelGradientTransform(a.1, b.1, c.1, d.1, e.1)
  let (middle, row) = (back(25), back(30))
  store(0, 0, left.0)
  store(2, 0, left.1)
  store(0, 2, right.0)
  store(2, 2, right.1)
  store(0, 1, middle.0)
  store(2, 1, middle.1)
  store(1, 0, row.0)
  store(1, 2, row.1)
  store(1, 1, (u + 35 &* stride).vector)
}
