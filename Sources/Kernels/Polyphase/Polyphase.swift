import Tensors

/// Winograd's algorithm on the phases of the input, for 3×3 kernels of stride 2.
///
/// Along one axis an output p sees input positions 2p, 2p + 1 and 2p + 2. Those of even position are a convolution with
/// two taps, w₀ and w₂, done for four outputs by F(4, 2) with five products; those of odd position have one tap, w₁, and
/// four products. In two dimensions that makes 25 + 20 + 20 + 16 = 81 products for 4×4 outputs instead of 144.
///
/// The 81 positions follow one another in four families: 5×5 (both axes even), 5×4 (rows even; columns odd,
/// untransformed), 4×5 (stored column by column, 5 columns of 4) and 4×4. Where an axis is untransformed its positions
/// share one kernel matrix, so there are 36 of these.
enum Polyphase: TileAlgorithm {
  static var positions: Int { 81 }
  static var matrices: Int { 36 }
  static var stride: Int { 2 }

  @inline(__always)
  static func positions(of matrix: Int) -> (first: Int, count: Int) {
    switch matrix {
    case 0..<25: (matrix, 1)
    case 25..<35: (25 &+ 4 &* (matrix &- 25), 4)
    default: (65, 16)
    }
  }

  static func handles(_ g: ConvolutionGeometry) -> Bool {
    g.kernelSize == 3 && g.stride == 2 && g.paddingBefore <= 1
      && g.inputHeight.isMultiple(of: 8) && g.inputWidth.isMultiple(of: 8)
      && 2 * g.outputHeight == g.inputHeight && 2 * g.outputWidth == g.inputWidth
      && g.inputChannels.isMultiple(of: 16) && g.outputChannels.isMultiple(of: 16)
  }

  /// A tile's window is one row and column larger than the tile: at the end, or at the beginning if zeros come before.
  static func borders(_ g: ConvolutionGeometry) -> (input: Border, outputGradient: Border) {
    let before = g.paddingBefore
    return (
      Border(before: before, after: 1 - before), Border(before: 1 - before, after: before)
    )
  }

  static func transformInput(
    _ unit: TileUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { polyphaseInput(unit, image, into: target) }

  static func transformOutput(
    _ unit: TileUnit, _ source: UnsafePointer<Float>, channels: Int,
    into target: UnsafeMutablePointer<Float>
  ) { polyphaseOutput(unit, source, channels: channels, into: target) }

  static func transformGradient(
    _ unit: TileUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { polyphaseGradient(unit, image, into: target) }

  static func transformGradientWindow(
    _ unit: TileUnit, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { polyphaseGradientWindow(unit, image, into: target) }

  static func transformInputGradient(
    _ unit: TileUnit, _ source: UnsafePointer<Float>, channels: Int, _ g: ConvolutionGeometry,
    into target: UnsafeMutablePointer<Float>
  ) {
    polyphaseInputGradient(
      unit, source, channels: channels, evenPhase: g.paddingBefore, into: target)
  }

  static func transformKernel(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) { polyphaseKernel(g, channel: channel, weight, into: target) }

  static func transformTurnedKernel(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) { polyphaseTurnedKernel(g, channel: channel, weight, into: target) }

  static func transformKernelGradient(
    _ source: UnsafePointer<Float>, _ block: KernelBlock,
    into weightGradient: UnsafeMutablePointer<Float>, _ g: ConvolutionGeometry
  ) { polyphaseKernelGradient(source, block, into: weightGradient, g) }
}
