import Tensors

/// How a 3×3 convolution of stride 1 is cut into units of about 32 tiles.
///
/// A tile is 4×4 output pixels. 32 of them keep a unit in the second-level cache and the matrix products at full speed:
/// with 16 tiles they lost a tenth, with 64 the way back did. A unit is some rows of tiles of one image, or all of some
/// images; a group is what is brought into scratch memory at once, one image or the images of a unit.
struct WinogradPlan {
  let geometry: ConvolutionGeometry
  /// The images of every group but possibly the last.
  let imagesPerGroup: Int
  /// The rows of tiles of every unit but possibly the last.
  let tileRowsPerUnit: Int

  /// The frequencies of a tile, 6×6.
  static let frequencies = 36
  private static let wantedTiles = 32

  /// Tells whether the algorithm handles a convolution; the direct one takes the others.
  static func handles(_ g: ConvolutionGeometry) -> Bool {
    g.kernelSize == 3 && g.stride == 1 && g.paddingBefore == 1
      && g.inputHeight.isMultiple(of: 4) && g.inputWidth.isMultiple(of: 4)
      && g.inputChannels.isMultiple(of: 16) && g.outputChannels.isMultiple(of: 16)
  }

  init(_ geometry: ConvolutionGeometry, imageCount: Int) {
    self.geometry = geometry
    let (rows, columns) = (geometry.outputHeight / 4, geometry.outputWidth / 4)
    if rows * columns > Self.wantedTiles {
      imagesPerGroup = 1
      tileRowsPerUnit = max(1, Self.wantedTiles / columns)
    } else {
      imagesPerGroup = min(imageCount, Self.wantedTiles / (rows * columns))
      tileRowsPerUnit = rows
    }
  }

  /// The rows of tiles of an image.
  var tileRows: Int { geometry.outputHeight / 4 }
  /// The tiles of the largest unit.
  var tilesPerUnit: Int { imagesPerGroup * tileRowsPerUnit * (geometry.outputWidth / 4) }

  /// Whether all images make one unit: a kernel's gradient is then no sum over units and is finished block by block.
  func hasOneUnit(imageCount: Int) -> Bool {
    imageCount <= imagesPerGroup && tileRowsPerUnit == tileRows
  }

  /// Calls `body` for every group: its first image and how many it has.
  @inline(__always)
  func forEachGroup(imageCount: Int, _ body: (_ first: Int, _ images: Int) -> Void) {
    for first in stride(from: 0, to: imageCount, by: imagesPerGroup) {
      body(first, min(imagesPerGroup, imageCount - first))
    }
  }

  /// Calls `body` for every unit of a group of `images` images.
  @inline(__always)
  func forEachUnit(images: Int, _ body: (WinogradUnit) -> Void) {
    for row in stride(from: 0, to: tileRows, by: tileRowsPerUnit) {
      body(
        WinogradUnit(
          images: images, firstTileRow: row, tileRows: min(tileRowsPerUnit, tileRows - row),
          tileColumns: geometry.outputWidth / 4))
    }
  }
}

/// The tiles that go through the transforms together: the same rows of tiles of all images of a group.
struct WinogradUnit {
  let images: Int
  let firstTileRow: Int
  let tileRows: Int
  let tileColumns: Int

  /// T.
  var tiles: Int { images * tileRows * tileColumns }
  /// The first row of pixels.
  var firstRow: Int { 4 * firstTileRow }
  /// The rows of pixels of each image.
  var rows: Int { 4 * tileRows }

  /// The floats from one frequency to the next of a matrix `[36, rows, columns]`.
  ///
  /// 16 more than it holds: at a power of two all 36 streams of a transform would fall on one set of the first-level
  /// cache (0.26 against 0.55 ms for the input transform of 64 images of 32×32×16).
  static func frequencyStride(rows: Int, columns: Int) -> Int { rows * columns + 16 }
}

/// Where the numbers of one unit lie in a worker's scratch memory.
struct WinogradMemory {
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
  init(_ plan: WinogradPlan, at start: UnsafeMutablePointer<Float>?) {
    let g = plan.geometry
    // To count, places are formed from an address that nobody reads.
    let base = start ?? UnsafeMutablePointer(bitPattern: 64).unsafelyUnwrapped
    input = PaddedImage(
      start: base, height: g.inputHeight, width: g.inputWidth, pixelStride: g.inputChannels,
      before: 1, after: 1)
    outputGradient = PaddedImage(
      start: base + plan.imagesPerGroup * input.count, height: g.outputHeight, width: g.outputWidth,
      pixelStride: g.outputChannels, before: 1, after: 1)
    first = outputGradient.start + plan.imagesPerGroup * outputGradient.count
    let matrix =
      WinogradPlan.frequencies
      * WinogradUnit.frequencyStride(
        rows: plan.tilesPerUnit, columns: max(g.inputChannels, g.outputChannels))
    second = first + matrix
    kernelGradient = second + matrix
    let kernel =
      WinogradPlan.frequencies
      * WinogradUnit.frequencyStride(rows: g.inputChannels, columns: g.outputChannels)
    count = (kernelGradient - base) + kernel
  }
}
