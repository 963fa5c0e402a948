// The two-dimensional transforms of whole units. Nothing else happens in them: batch normalisation, masks and sums ride in
// linear passes before and after, which the hardware prefetches; inside the transforms they were slower by a fifth and more.

/// V = BᵀzB for every tile of a unit: `[36, T, C]` from padded images.
///
/// - Parameters:
///   - unit: The tiles.
///   - image: The first of the group's padded images.
///   - target: V.
func transformInput(
  _ unit: WinogradUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
) {
  let channels = image.pixelStride
  let frequencyStride = WinogradUnit.frequencyStride(rows: unit.tiles, columns: channels)
  let rowStride = image.rowStride
  var tile = target
  for n in 0..<unit.images {
    for tileRow in unit.firstTileRow..<unit.firstTileRow + unit.tileRows {
      var source = image.start + (n &* image.count &+ 4 &* tileRow &* rowStride)
      for _ in 0..<unit.tileColumns {
        for c in stride(from: 0, to: channels, by: 16) {
          transformInputTile(
            source + c, rowStride: rowStride, pixelStride: channels, tile + c, frequencyStride)
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
  _ v: UnsafeMutablePointer<Float>, _ frequencyStride: Int
) {
  var columns = InlineArray<36, Vector>(repeating: Vector())
  for i in 0..<6 {
    let x = x + i &* pixelStride
    let f = inputTransform(
      x.vector, (x + rowStride).vector, (x + 2 &* rowStride).vector, (x + 3 &* rowStride).vector,
      (x + 4 &* rowStride).vector, (x + 5 &* rowStride).vector)
    columns[i] = f.0
    columns[6 &+ i] = f.1
    columns[12 &+ i] = f.2
    columns[18 &+ i] = f.3
    columns[24 &+ i] = f.4
    columns[30 &+ i] = f.5
  }
  for i in 0..<6 {
    let row = 6 &* i
    let f = inputTransform(
      columns[row], columns[row &+ 1], columns[row &+ 2], columns[row &+ 3], columns[row &+ 4],
      columns[row &+ 5])
    store(f, at: v + row &* frequencyStride, frequencyStride)
  }
}

/// D = A dY Aᵀ for every tile of a unit: `[36, T, K]` from the inside of padded images.
///
/// - Parameters:
///   - unit: The tiles.
///   - image: The first of the group's padded images.
///   - target: D.
func transformGradient(
  _ unit: WinogradUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
) {
  let channels = image.pixelStride
  let frequencyStride = WinogradUnit.frequencyStride(rows: unit.tiles, columns: channels)
  let rowStride = image.rowStride
  var tile = target
  for n in 0..<unit.images {
    for tileRow in unit.firstTileRow..<unit.firstTileRow + unit.tileRows {
      var source = image.row(4 &* tileRow) + n &* image.count
      for _ in 0..<unit.tileColumns {
        for c in stride(from: 0, to: channels, by: 16) {
          transformGradientTile(
            source + c, rowStride: rowStride, pixelStride: channels, tile + c, frequencyStride)
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
  _ d: UnsafeMutablePointer<Float>, _ frequencyStride: Int
) {
  var columns = InlineArray<24, Vector>(repeating: Vector())
  for i in 0..<4 {
    let y = y + i &* pixelStride
    let f = gradientTransform(
      y.vector, (y + rowStride).vector, (y + 2 &* rowStride).vector, (y + 3 &* rowStride).vector)
    columns[i] = f.0
    columns[4 &+ i] = f.1
    columns[8 &+ i] = f.2
    columns[12 &+ i] = f.3
    columns[16 &+ i] = f.4
    columns[20 &+ i] = f.5
  }
  for i in 0..<6 {
    let f = gradientTransform(
      columns[4 &* i], columns[4 &* i &+ 1], columns[4 &* i &+ 2], columns[4 &* i &+ 3])
    store(f, at: d + 6 &* i &* frequencyStride, frequencyStride)
  }
}

/// y = AᵀMA for every tile of a unit: rows of pixels `[images, rows, Q, K]` from `[36, T, K]`.
///
/// - Parameters:
///   - unit: The tiles.
///   - source: M.
///   - channels: K.
///   - target: The unit's rows of the first image, then those of the next.
func transformOutput(
  _ unit: WinogradUnit, _ source: UnsafePointer<Float>, channels: Int,
  into target: UnsafeMutablePointer<Float>
) {
  let frequencyStride = WinogradUnit.frequencyStride(rows: unit.tiles, columns: channels)
  let rowStride = 4 &* unit.tileColumns &* channels
  var tile = source
  var row = target
  for _ in 0..<unit.images &* unit.tileRows {
    var pixels = row
    for _ in 0..<unit.tileColumns {
      for c in stride(from: 0, to: channels, by: 16) {
        transformOutputTile(
          tile + c, frequencyStride, pixels + c, rowStride: rowStride, pixelStride: channels)
      }
      tile += channels
      pixels += 4 &* channels
    }
    row += 4 &* rowStride
  }
}

@inline(__always)
private func transformOutputTile(
  _ m: UnsafePointer<Float>, _ frequencyStride: Int, _ y: UnsafeMutablePointer<Float>,
  rowStride: Int, pixelStride: Int
) {
  var rows = InlineArray<24, Vector>(repeating: Vector())
  for i in 0..<6 {
    let m = m + i &* frequencyStride
    let step = 6 &* frequencyStride
    let f = outputTransform(
      m.vector, (m + step).vector, (m + 2 &* step).vector, (m + 3 &* step).vector,
      (m + 4 &* step).vector, (m + 5 &* step).vector)
    rows[i] = f.0
    rows[6 &+ i] = f.1
    rows[12 &+ i] = f.2
    rows[18 &+ i] = f.3
  }
  for i in 0..<4 {
    let r = 6 &* i
    let f = outputTransform(
      rows[r], rows[r &+ 1], rows[r &+ 2], rows[r &+ 3], rows[r &+ 4], rows[r &+ 5])
    let y = y + i &* rowStride
    y.store(f.0)
    (y + pixelStride).store(f.1)
    (y + 2 &* pixelStride).store(f.2)
    (y + 3 &* pixelStride).store(f.3)
  }
}

@inline(__always)
private func store(
  _ f: (Vector, Vector, Vector, Vector, Vector, Vector), at target: UnsafeMutablePointer<Float>,
  _ stride: Int
) {
  target.store(f.0)
  (target + stride).store(f.1)
  (target + 2 &* stride).store(f.2)
  (target + 3 &* stride).store(f.3)
  (target + 4 &* stride).store(f.4)
  (target + 5 &* stride).store(f.5)
}
