/// The way from an image of any size to the square that a model reads: central crop, then the mean over areas.
///
/// The crop is the largest central square, of S pixels per side; of an odd margin the smaller half is cut off at the top
/// and left. Output pixel (y, x) of N×N is the mean over rows y·S/N … (y + 1)·S/N and the same columns. Input pixels at its
/// ends count by the covered fraction, a multiple of 1/N. Sums are integers, so the result is exact; it is rounded to the
/// nearest integer, halves up. An image of N×N pixels is unchanged. Smaller images are enlarged by the same formula.
public enum AreaResize {
  /// Crops and resizes an image as viewers show it.
  ///
  /// - Parameters:
  ///   - image: The image as stored.
  ///   - orientation: How viewers show it.
  ///   - size: N, the rows and columns of the result, 1 … 256.
  /// - Returns: N×N pixels.
  public static func square(
    _ image: RGBImage, _ orientation: ImageOrientation = .upright, size: Int
  ) -> RGBImage {
    precondition((1...256).contains(size), "the result has 1 to 256 rows")
    let side = min(image.height, image.width)
    precondition(side > 0 && side <= 1 << 15, "the sums are made for at most 2¹⁵ rows and columns")
    // The smaller half of the margin as shown: the larger one as stored, where the order is reversed.
    let top = (image.height - side + (orientation.reversesRows ? 1 : 0)) / 2
    let left = (image.width - side + (orientation.reversesColumns ? 1 : 0)) / 2
    let stored =
      side == size
      ? crop(image, top: top, left: left, size: size)
      : means(image, top: top, left: left, side: side, size: size)
    return orientation == .upright ? stored : turned(stored, orientation)
  }

  private static func crop(_ image: RGBImage, top: Int, left: Int, size: Int) -> RGBImage {
    if image.height == size && image.width == size { return image }
    var pixels: [UInt8] = []
    pixels.reserveCapacity(3 * size * size)
    for row in top..<top + size {
      let start = 3 * (row * image.width + left)
      pixels += image.pixels[start..<start + 3 * size]
    }
    return RGBImage(height: size, width: size, pixels: pixels)
  }

  /// Returns the means over areas of a crop.
  private static func means(_ image: RGBImage, top: Int, left: Int, side: Int, size: Int) -> RGBImage {
    let rowLength = 3 * size
    // Weighted sums over the columns of one input row, below 2⁸·side, and of those over rows, below 2⁸·side².
    var row = [UInt32](repeating: 0, count: rowLength)
    var rowIndex = -1
    var sums = [UInt64](repeating: 0, count: rowLength)
    let total = UInt64(side) * UInt64(side)
    var pixels: [UInt8] = []
    pixels.reserveCapacity(rowLength * size)
    for y in 0..<size {
      for i in 0..<rowLength { sums[i] = 0 }
      forEachInput(of: y, side: side, size: size) { inputRow, weight in
        if inputRow != rowIndex {
          addColumns(image, row: top + inputRow, left: left, side: side, size: size, into: &row)
          rowIndex = inputRow
        }
        for i in 0..<rowLength { sums[i] &+= UInt64(weight) &* UInt64(row[i]) }
      }
      for sum in sums { pixels.append(UInt8((2 * sum + total) / (2 * total))) }
    }
    return RGBImage(height: size, width: size, pixels: pixels)
  }

  /// Overwrites `sums` with the weighted sums over the columns of each output pixel.
  private static func addColumns(
    _ image: RGBImage, row: Int, left: Int, side: Int, size: Int, into sums: inout [UInt32]
  ) {
    image.pixels.withUnsafeBufferPointer { pixels in
      let start = 3 * (row * image.width + left)
      for x in 0..<size {
        var sum = SIMD4<UInt32>.zero
        forEachInput(of: x, side: side, size: size) { column, weight in
          let pixel = start + 3 * column
          sum &+=
            UInt32(truncatingIfNeeded: weight)
            &* SIMD4<UInt32>(UInt32(pixels[pixel]), UInt32(pixels[pixel + 1]), UInt32(pixels[pixel + 2]), 0)
        }
        for c in 0..<3 { sums[3 * x + c] = sum[c] }
      }
    }
  }

  /// Calls a body with the input rows or columns that an output row or column covers, and the covered parts.
  ///
  /// In units of 1/N input pixels an input pixel is N long and an output pixel S.
  @inline(__always)
  private static func forEachInput(
    of output: Int, side: Int, size: Int, _ body: (_ input: Int, _ weight: Int) -> Void
  ) {
    var start = output * side
    let end = start + side
    var input = start / size
    while start < end {
      let next = min((input + 1) * size, end)
      body(input, next - start)
      (start, input) = (next, input + 1)
    }
  }

  /// Returns a square image as viewers show it.
  private static func turned(_ image: RGBImage, _ orientation: ImageOrientation) -> RGBImage {
    let size = image.height
    var result = image
    for y in 0..<size {
      for x in 0..<size {
        var (row, column) = orientation.swapsAxes ? (x, y) : (y, x)
        if orientation.reversesRows { row = size - 1 - row }
        if orientation.reversesColumns { column = size - 1 - column }
        for c in 0..<3 { result.pixels[3 * (y * size + x) + c] = image.pixels[3 * (row * size + column) + c] }
      }
    }
    return result
  }
}
