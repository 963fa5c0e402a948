import Tensors

/// An algorithm that computes 3×3 convolutions through tiles of 4×4 output pixels.
///
/// Input tiles, kernels and output gradients are transformed; at every *position* of the transformed tile the channels
/// meet in a matrix product; the products are transformed back. Positions may share a kernel *matrix*.
protocol TiledAlgorithm {
  /// The positions of a transformed tile.
  static var positions: Int { get }
  /// The matrices of a transformed kernel, at most ``positions``.
  static var matrices: Int { get }
  /// The step of the convolution: a tile has 4·stride rows of input pixels that belong to it alone.
  static var stride: Int { get }

  /// The positions that share a matrix: the first, and how many follow one another.
  static func positions(of matrix: Int) -> (first: Int, count: Int)
  /// Tells whether the algorithm handles a convolution.
  static func supports(_ g: ConvolutionGeometry) -> Bool
  /// The rows and columns of zeros around the input and around the output gradient that tiles reach.
  static func borders(_ g: ConvolutionGeometry) -> (input: Border, outputGradient: Border)

  /// V: the tiles of padded images, `[positions, T, C]`.
  static func transformInput(
    _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>)
  /// y: the unit's rows of pixels, `[images, rows, Q, K]`, from M, `[positions, T, K]`.
  static func transformOutput(
    _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int,
    into target: UnsafeMutablePointer<Float>)
  /// D: the tiles of padded output gradients, `[positions, T, K]`, for the products that give dU.
  static func transformOutputGradient(
    _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>)
  /// E: the windows of padded output gradients that tiles of dZ see, `[positions, T, K]`.
  static func transformOutputGradientWindow(
    _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>)
  /// dZ: the unit's rows of input pixels, `[images, stride·rows, W, C]`, from M, `[positions, T, C]`.
  static func transformInputGradient(
    _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int, _ g: ConvolutionGeometry,
    into target: UnsafeMutablePointer<Float>)
  /// U for 16 channels from `channel` on, their rows of `[matrices, C, K]`, from a kernel, `RSCK`.
  static func transformWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>)
  /// U′ for the way back for 16 channels from `channel` on, their columns of `[matrices, K, C]`, from a kernel, `RSCK`.
  static func transformFlippedWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>)
  /// A block of dW, `RSCK`, from that of dU, `[matrices, rows, columns]`.
  static func inverseTransformWeightGradient(
    _ source: UnsafePointer<Float>, _ block: WeightGradientBlock,
    into weightGradient: UnsafeMutablePointer<Float>, _ g: ConvolutionGeometry)
}

/// Rows and columns of zeros around an image.
struct Border {
  let before: Int
  let after: Int
}
