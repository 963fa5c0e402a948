/// The part of a stored image that each output pixel shows: flip, shift with a border, window, cutout.
///
/// Coordinates are rows and columns from the upper left. Output pixel (y, x) shows pixel (y + `top`, x + `left`) of the
/// stored image, mirrored first if `isMirrored`. Pixels outside the image are the border.
struct ImagePlacement: Equatable {
  /// Whether the stored image is mirrored horizontally.
  var isMirrored = false
  /// The row and the column of the stored image at the output's upper left, each −31 … 31.
  var (top, left) = (0, 0)
  /// The content of pixels outside the image.
  var border = CropBorder.reflect
  /// The side of the square of zeros, and its position in the output.
  var (cutoutSize, cutoutTop, cutoutLeft) = (0, 0, 0)
  /// The rows and columns of the output, 1 … 32.
  var extent = ImageDataset.imageSize

  /// Narrows the output to a window whose upper left is at (`row`, `column`) of the present output.
  mutating func crop(to extent: Int, row: Int, column: Int) {
    top += row
    left += column
    cutoutTop -= row
    cutoutLeft -= column
    self.extent = extent
  }

  /// Returns the row or column of the stored image that a coordinate shows; `nil` outside with a border of zeros.
  @inline(__always)
  private func source(_ coordinate: Int) -> Int? {
    let last = ImageDataset.imageSize - 1
    if coordinate >= 0 && coordinate <= last { return coordinate }
    if border == .zero { return nil }
    return coordinate < 0 ? -coordinate : 2 * last - coordinate
  }

  /// Writes the output of a source image, `HWC` with `extent` rows and columns.
  @inline(__always)
  func render(_ source: some PixelSource, into output: UnsafeMutablePointer<Float>) {
    let size = ImageDataset.imageSize
    // One column lookup per image, not per row: the loop over pixels below takes most of the time.
    var columns = InlineArray<32, Int>(repeating: 0)
    var visible = 0..<0
    for x in 0..<extent {
      guard let column = self.source(x + left) else { continue }
      columns[x] = isMirrored ? size - 1 - column : column
      visible = (visible.isEmpty ? x : visible.lowerBound)..<x + 1
    }
    for y in 0..<extent {
      let row = output + 3 * extent * y
      guard let sourceRow = self.source(y + top) else {
        row.update(repeating: 0, count: 3 * extent)
        continue
      }
      row.update(repeating: 0, count: 3 * visible.lowerBound)
      for x in visible { source.copyPixel(size * sourceRow + columns[x], to: row + 3 * x) }
      (row + 3 * visible.upperBound).update(repeating: 0, count: 3 * (extent - visible.upperBound))
    }
    cutOut(output)
  }

  private func cutOut(_ output: UnsafeMutablePointer<Float>) {
    // After a crop to a lower resolution, the square may lie outside, partly or entirely.
    let (top, bottom) = (max(0, cutoutTop), min(extent, cutoutTop + cutoutSize))
    let (left, right) = (max(0, cutoutLeft), min(extent, cutoutLeft + cutoutSize))
    guard top < bottom && left < right else { return }
    for y in top..<bottom { (output + 3 * (extent * y + left)).update(repeating: 0, count: 3 * (right - left)) }
  }
}

/// A 32×32 image from which normalized pixels are read.
protocol PixelSource {
  /// Writes red, green and blue of a pixel.
  ///
  /// - Parameters:
  ///   - pixel: 32·row + column.
  ///   - target: The destination of three values.
  func copyPixel(_ pixel: Int, to target: UnsafeMutablePointer<Float>)
}

/// Planes of bytes, `CHW`, and the normalized value of every byte.
struct BytePlanes: PixelSource {
  let planes: UnsafePointer<UInt8>
  /// The values of bytes, `[channel, byte]`.
  let values: UnsafePointer<Float>

  @inline(__always)
  func copyPixel(_ pixel: Int, to target: UnsafeMutablePointer<Float>) {
    target[0] = values[Int(planes[pixel])]
    target[1] = values[256 + Int(planes[1024 + pixel])]
    target[2] = values[512 + Int(planes[2048 + pixel])]
  }
}

/// Normalized values, `HWC`.
struct NormalizedPixels: PixelSource {
  let pixels: UnsafePointer<Float>

  @inline(__always)
  func copyPixel(_ pixel: Int, to target: UnsafeMutablePointer<Float>) {
    for c in 0..<3 { target[c] = pixels[3 * pixel + c] }
  }
}
