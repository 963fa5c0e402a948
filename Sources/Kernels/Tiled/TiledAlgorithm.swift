import Tensors

/// An algorithm that computes 3×3 convolutions through tiles of 4×4 output pixels.
///
/// Where sizes are no whole tiles, the last tiles of a row or column reach beyond the image: zeros surround what they read,
/// and what they compute there is dropped.
///
/// Input tiles, weights and output gradients are transformed. At every *position* of the transformed tile, one GEMM
/// contracts the channels. Its results are transformed back. Positions may share a *matrix* of the transformed weight.
/// Transforms of tiles are never inlined, so that a profile shows them.
protocol TiledAlgorithm {
  /// The number of positions of a transformed tile.
  static var positionCount: Int { get }
  /// The number of matrices of a transformed weight, at most ``positionCount``.
  static var weightMatrixCount: Int { get }
  /// The stride of the convolution: the input pixels that belong to one tile alone fill 4·stride rows.
  static var stride: Int { get }

  /// Returns the positions that share a matrix: the first, and their number; they are consecutive.
  static func positions(of matrix: Int) -> (first: Int, count: Int)
  /// Returns whether the algorithm computes a convolution.
  static func supports(_ g: ConvolutionGeometry) -> Bool
  /// The rows and columns that a window has more than the tile's own pixels.
  static var windowOverlap: Int { get }
  /// Returns the rows and columns of zeros that windows reach before the input and before the output gradient.
  static func zerosBefore(_ g: ConvolutionGeometry) -> (input: Int, outputGradient: Int)

  /// Writes V, the transformed tiles of padded images, `[positions, T, C]`.
  static func transformInput(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>)
  /// Writes y, the block's rows of pixels, `[images, rows, Q, K]`, from M, `[positions, T, K]`.
  static func transformOutput(
    _ block: TileBlock, _ source: UnsafePointer<Float>, channels: Int,
    into target: UnsafeMutablePointer<Float>)
  /// Writes D, the transformed tiles of padded output gradients, `[positions, T, K]`, for the GEMMs that give dU.
  static func transformOutputGradient(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>)
  /// Writes E, the transformed windows of padded output gradients that dZ's tiles depend on, `[positions, T, K]`.
  static func transformOutputGradientWindow(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>)
  /// Writes dZ, the block's rows of input pixels, `[images, stride·rows, W, C]`, from M, `[positions, T, C]`.
  static func transformInputGradient(
    _ block: TileBlock, _ source: UnsafePointer<Float>, channels: Int, _ g: ConvolutionGeometry,
    into target: UnsafeMutablePointer<Float>)
  /// Writes the rows of U, `[matrices, C, K]`, of the 16 channels from `channel` on, from a weight, `RSCK`.
  static func transformWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>)
  /// Writes the columns of U′, `[matrices, K, C]`, of the 16 channels from `channel` on, from a weight, `RSCK`.
  ///
  /// U′ is the transform of the flipped weight, which is rotated by 180° with channels and filters swapped.
  static func transformFlippedWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>)
  /// Writes a block of dW, `RSCK`, from the same block of dU, `[matrices, rows, columns]`, or adds it to what is there.
  static func inverseTransformWeightGradient(
    _ source: UnsafePointer<Float>, _ block: WeightGradientBlock,
    into weightGradient: (target: UnsafeMutablePointer<Float>, isAdded: Bool), _ g: ConvolutionGeometry)
}
