import Tensors

/// Winograd's F(4×4, 3×3) for stride 1: 36 products a tile instead of 144 (Lavin and Gray, arXiv 1509.09308).
///
/// `docs/numerics.md` has its accuracy.
enum Winograd: TileAlgorithm {
  static var positions: Int { 36 }
  static var matrices: Int { 36 }
  static var stride: Int { 1 }

  @inline(__always)
  static func positions(of matrix: Int) -> (first: Int, count: Int) { (matrix, 1) }

  static func handles(_ g: ConvolutionGeometry) -> Bool {
    g.kernelSize == 3 && g.stride == 1 && g.paddingBefore == 1
      && g.inputHeight.isMultiple(of: 4) && g.inputWidth.isMultiple(of: 4)
      && g.outputHeight == g.inputHeight && g.outputWidth == g.inputWidth
      && g.inputChannels.isMultiple(of: 16) && g.outputChannels.isMultiple(of: 16)
  }

  static func borders(_ g: ConvolutionGeometry) -> (input: Border, outputGradient: Border) {
    (Border(before: 1, after: 1), Border(before: 1, after: 1))
  }

  static func transformInput(
    _ unit: TileUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { winogradInput(unit, image, into: target) }

  static func transformOutput(
    _ unit: TileUnit, _ source: UnsafePointer<Float>, channels: Int,
    into target: UnsafeMutablePointer<Float>
  ) { winogradOutput(unit, source, channels: channels, into: target) }

  static func transformGradient(
    _ unit: TileUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { winogradGradient(unit, image, into: target) }

  /// At stride 1 the way back is a convolution like the way forward.
  static func transformGradientWindow(
    _ unit: TileUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { winogradInput(unit, image, into: target) }

  static func transformInputGradient(
    _ unit: TileUnit, _ source: UnsafePointer<Float>, channels: Int, _ g: ConvolutionGeometry,
    into target: UnsafeMutablePointer<Float>
  ) { winogradOutput(unit, source, channels: channels, into: target) }

  static func transformKernel(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) { winogradKernel(g, channel: channel, weight, into: target) }

  static func transformTurnedKernel(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) { winogradTurnedKernel(g, channel: channel, weight, into: target) }

  static func transformKernelGradient(
    _ source: UnsafePointer<Float>, _ block: KernelBlock,
    into weightGradient: UnsafeMutablePointer<Float>, _ g: ConvolutionGeometry
  ) { winogradKernelGradient(source, block, into: weightGradient, g) }
}
