import Tensors

/// How a convolution is cut into units of tiles of 4×4 output pixels.
///
/// A unit goes through transforms and matrix products together: some rows of tiles of one image, or all tiles of some
/// images. A group is what is brought into scratch memory at once: one image, or the images of a unit.
struct TilePlan {
  /// The images of every group but possibly the last.
  let imagesPerGroup: Int
  /// The rows of tiles of every unit but possibly the last.
  let tileRowsPerUnit: Int
  /// The rows of tiles of an image.
  let tileRows: Int
  /// The tiles of a row.
  let tileColumns: Int

  /// Cuts images of P×Q output pixels, both multiples of 4, into units of about `wantedTiles` tiles.
  init(_ geometry: ConvolutionGeometry, imageCount: Int, wantedTiles: Int) {
    (tileRows, tileColumns) = (geometry.outputHeight / 4, geometry.outputWidth / 4)
    if tileRows * tileColumns > wantedTiles {
      imagesPerGroup = 1
      tileRowsPerUnit = max(1, wantedTiles / tileColumns)
    } else {
      imagesPerGroup = min(imageCount, wantedTiles / (tileRows * tileColumns))
      tileRowsPerUnit = tileRows
    }
  }

  /// The tiles of the largest unit.
  var tilesPerUnit: Int { imagesPerGroup * tileRowsPerUnit * tileColumns }

  /// The units of a group.
  var unitsPerGroup: Int { (tileRows + tileRowsPerUnit - 1) / tileRowsPerUnit }

  /// Whether all images make one unit: a kernel's gradient is then no sum over units and is finished block by block.
  func hasOneUnit(imageCount: Int) -> Bool {
    imageCount <= imagesPerGroup && tileRowsPerUnit == tileRows
  }

  /// Calls `body` for every group of a microbatch's images.
  @inline(__always)
  func forEachGroup(imageCount: Int, _ body: (ImageGroup) -> Void) {
    for first in stride(from: 0, to: imageCount, by: imagesPerGroup) {
      let end = min(first + imagesPerGroup, imageCount)
      body(ImageGroup(images: first..<end, next: end..<min(end + imagesPerGroup, imageCount)))
    }
  }

  /// Calls `body` for every unit of a group of `images` images.
  @inline(__always)
  func forEachUnit(images: Int, _ body: (TileUnit) -> Void) {
    for row in stride(from: 0, to: tileRows, by: tileRowsPerUnit) {
      body(
        TileUnit(
          images: images, firstTileRow: row, tileRows: min(tileRowsPerUnit, tileRows - row),
          tileColumns: tileColumns))
    }
  }
}

/// The images that are in scratch memory at once, and those that follow.
struct ImageGroup {
  let images: Range<Int>
  let next: Range<Int>
}

/// The tiles that go through the transforms together: the same rows of tiles of all images of a group.
struct TileUnit {
  let images: Int
  let firstTileRow: Int
  let tileRows: Int
  let tileColumns: Int

  /// T.
  var tiles: Int { images * tileRows * tileColumns }
  /// The first row of output pixels.
  var firstRow: Int { 4 * firstTileRow }
  /// The rows of output pixels of each image.
  var rows: Int { 4 * tileRows }

  /// The floats from one frequency to the next of a stack of matrices `[F, rows, columns]`.
  ///
  /// 16 more than it holds: at a power of two all streams of a transform would fall on one set of the first-level cache
  /// (0.26 against 0.55 ms for the input transform of 64 images of 32×32×16).
  static func frequencyStride(rows: Int, columns: Int) -> Int { rows * columns + 16 }
}
