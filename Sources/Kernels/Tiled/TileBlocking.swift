import Tensors

/// How a convolution is cut into units of tiles of 4×4 output pixels.
///
/// A unit goes through transforms and matrix products together: some rows of tiles of one image, or all tiles of some
/// images. A group is what is brought into scratch memory at once: one image, or the images of a unit. A group is part of
/// a microbatch or some whole ones.
struct TileBlocking {
  let microbatches: MicrobatchRange
  /// The images of every group but possibly a microbatch's or the span's last.
  let imagesPerGroup: Int
  /// The rows of tiles of every unit but possibly the last.
  let tileRowsPerUnit: Int
  /// The rows of tiles of an image.
  let tileRows: Int
  /// The tiles of a row.
  let tileColumns: Int
  /// Whether all tiles of a microbatch are in one unit: a kernel's gradient is then no sum over units.
  ///
  /// The same for all spans of equal microbatches.
  let coversMicrobatch: Bool

  /// Cuts images of P×Q output pixels, both multiples of 4, into units of about `targetTileCount` tiles.
  init(_ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, targetTileCount: Int) {
    self.microbatches = microbatches
    (tileRows, tileColumns) = (geometry.outputHeight / 4, geometry.outputWidth / 4)
    let (tilesPerImage, microbatch) = (tileRows * tileColumns, microbatches.imagesPerMicrobatch)
    let images = max(1, targetTileCount / tilesPerImage)
    tileRowsPerUnit = min(tileRows, max(1, targetTileCount / tileColumns))
    coversMicrobatch = images >= microbatch && tileRowsPerUnit == tileRows
    imagesPerGroup = min(images < microbatch ? images : images / microbatch * microbatch, microbatches.imageCount)
  }

  /// The tiles of the largest unit.
  var tilesPerUnit: Int { imagesPerGroup * tileRowsPerUnit * tileColumns }

  /// The units of a group.
  var unitsPerGroup: Int { (tileRows + tileRowsPerUnit - 1) / tileRowsPerUnit }

  /// Calls `body` for every group of the span's images.
  @inline(__always)
  func forEachGroup(_ body: (ImageBlock) -> Void) {
    let step = max(imagesPerGroup, microbatches.imagesPerMicrobatch)
    for start in stride(from: 0, to: microbatches.imageCount, by: step) {
      let end = min(start + step, microbatches.imageCount)
      for first in stride(from: start, to: end, by: imagesPerGroup) {
        let next = min(first + imagesPerGroup, end)
        body(
          ImageBlock(
            microbatches: microbatches, images: first..<next,
            next: next..<min(next + imagesPerGroup, microbatches.imageCount)))
      }
    }
  }

  /// Calls `body` for every unit of a group of `images` images.
  @inline(__always)
  func forEachUnit(images: Int, _ body: (TileBlock) -> Void) {
    for row in stride(from: 0, to: tileRows, by: tileRowsPerUnit) {
      body(
        TileBlock(
          images: images, firstTileRow: row, tileRows: min(tileRowsPerUnit, tileRows - row),
          tileColumns: tileColumns))
    }
  }
}

/// The images that are in scratch memory at once, and those that follow.
struct ImageBlock {
  let microbatches: MicrobatchRange
  let images: Range<Int>
  let next: Range<Int>

  /// The microbatches that the images belong to.
  var microbatchIndices: ClosedRange<Int> {
    microbatches.microbatch(of: images.lowerBound)...microbatches.microbatch(of: images.upperBound - 1)
  }

  /// The group's images of microbatch `m`.
  func images(of m: Int) -> Range<Int> { microbatches.images(of: m).clamped(to: images) }

  /// Calls `body` for every image with its microbatch, its number in the microbatch and its place in the group.
  @inline(__always)
  func forEachImage(_ body: (_ microbatch: Int, _ number: Int, _ place: Int) -> Void) {
    for image in images {
      body(
        microbatches.microbatch(of: image), image % microbatches.imagesPerMicrobatch, image - images.lowerBound)
    }
  }

  /// Whether the group begins a microbatch.
  var beginsMicrobatch: Bool { images.lowerBound.isMultiple(of: microbatches.imagesPerMicrobatch) }

  /// Whether the group ends a microbatch.
  var endsMicrobatch: Bool { images.upperBound == microbatches.images(of: microbatchIndices.upperBound).upperBound }
}

/// The tiles that go through the transforms together: the same rows of tiles of all images of a group.
struct TileBlock {
  let images: Int
  let firstTileRow: Int
  let tileRows: Int
  let tileColumns: Int

  /// The same rows of tiles of `images` images.
  func part(images: Int) -> TileBlock {
    TileBlock(images: images, firstTileRow: firstTileRow, tileRows: tileRows, tileColumns: tileColumns)
  }

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
  static func positionStride(rows: Int, columns: Int) -> Int { rows * columns + 16 }
}
