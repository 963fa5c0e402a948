import Tensors

/// Winograd's F(4×4, 3×3) for stride 1: 36 products a tile instead of 144 (Lavin and Gray, arXiv 1509.09308).
///
/// `docs/numerics.md` has its accuracy.
enum Winograd: TiledAlgorithm {
  static var positions: Int { 36 }
  static var matrices: Int { 36 }
  static var stride: Int { 1 }

  @inline(__always)
  static func positions(of matrix: Int) -> (first: Int, count: Int) { (matrix, 1) }

  static func supports(_ g: ConvolutionGeometry) -> Bool {
    g.kernelSize == 3 && g.stride == 1 && g.paddingBefore == 1
      && g.inputHeight.isMultiple(of: 4) && g.inputWidth.isMultiple(of: 4)
      && g.outputHeight == g.inputHeight && g.outputWidth == g.inputWidth
      && g.inputChannels.isMultiple(of: 16) && g.outputChannels.isMultiple(of: 16)
  }

  static func borders(_ g: ConvolutionGeometry) -> (input: Border, outputGradient: Border) {
    (Border(before: 1, after: 1), Border(before: 1, after: 1))
  }

  static func transformInput(
    _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { winogradInput(unit, image, into: target) }

  static func transformOutput(
    _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int,
    into target: UnsafeMutablePointer<Float>
  ) { winogradOutput(unit, source, channels: channels, into: target) }

  static func transformOutputGradient(
    _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { winogradGradient(unit, image, into: target) }

  /// At stride 1 the way back is a convolution like the way forward.
  static func transformOutputGradientWindow(
    _ unit: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { winogradInput(unit, image, into: target) }

  static func transformInputGradient(
    _ unit: TileBlock, _ source: UnsafePointer<Float>, channels: Int, _ g: ConvolutionGeometry,
    into target: UnsafeMutablePointer<Float>
  ) { winogradOutput(unit, source, channels: channels, into: target) }

  static func transformWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) { winogradKernel(g, channel: channel, weight, into: target) }

  static func transformFlippedWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) { winogradTurnedKernel(g, channel: channel, weight, into: target) }

  static func inverseTransformWeightGradient(
    _ source: UnsafePointer<Float>, _ block: WeightGradientBlock,
    into weightGradient: UnsafeMutablePointer<Float>, _ g: ConvolutionGeometry
  ) { winogradKernelGradient(source, block, into: weightGradient, g) }
}

// The one-dimensional transforms of Winograd's F(4, 3) (Lavin and Gray, arXiv 1509.09308) at the points 0, ±√½, ±√2, ∞.
//
// These points give half the error of the usual 0, ±1, ±2, ∞. A two-dimensional transform applies them to rows and then
// to columns; y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A. Every ± pair is written e + p, e − p: a second constant of the other sign
// would not fit the registers.

/// Six frequencies of one axis.
typealias Vectors6 = (Vector, Vector, Vector, Vector, Vector, Vector)
/// Four output positions of one axis.
typealias Vectors4 = (Vector, Vector, Vector, Vector)
/// Three positions of a kernel along one axis.
typealias Vectors3 = (Vector, Vector, Vector)

/// √½.
@inline(__always) private var a: Float { 0.707_106_781_186_547_5 }
/// √2.
@inline(__always) private var b: Float { 1.414_213_562_373_095_1 }

/// Bᵀ: six input positions to six frequencies.
@inline(__always)
func inputTransform(
  _ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector, _ d4: Vector, _ d5: Vector
) -> Vectors6 {
  let even1 = d4.addingProduct(Vector(repeating: -2), d2)
  let odd1 = d3.addingProduct(Vector(repeating: -2), d1) * a
  let even2 = d4.addingProduct(Vector(repeating: -0.5), d2)
  let odd2 = d3.addingProduct(Vector(repeating: -0.5), d1) * b
  return (
    (d0 + d4).addingProduct(Vector(repeating: -2.5), d2), even1 + odd1, even1 - odd1, even2 + odd2,
    even2 - odd2, (d1 + d5).addingProduct(Vector(repeating: -2.5), d3)
  )
}

/// Aᵀ: six frequencies to four output positions.
@inline(__always)
func outputTransform(
  _ m0: Vector, _ m1: Vector, _ m2: Vector, _ m3: Vector, _ m4: Vector, _ m5: Vector
) -> Vectors4 {
  let (s1, t1, s2, t2) = (m1 + m2, (m1 - m2) * a, m3 + m4, (m3 - m4) * b)
  return (
    m0 + s1 + s2, t1 + t2, (s2 * 2).addingProduct(Vector(repeating: 0.5), s1),
    (m5 + t2 * 2).addingProduct(Vector(repeating: 0.5), t1)
  )
}

/// A: four positions of an output gradient to six frequencies.
@inline(__always)
func gradientTransform(
  _ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector
) -> Vectors6 {
  let even1 = d0.addingProduct(Vector(repeating: 0.5), d2)
  let odd1 = d1.addingProduct(Vector(repeating: 0.5), d3) * a
  let even2 = d0.addingProduct(Vector(repeating: 2), d2)
  let odd2 = d1.addingProduct(Vector(repeating: 2), d3) * b
  return (d0, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, d3)
}

/// G: three positions of a kernel to six frequencies.
@inline(__always)
func kernelTransform(
  _ w0: Vector, _ w1: Vector, _ w2: Vector
) -> Vectors6 {
  let even1 = (w0 * 2 + w2) * (-1.0 / 3)
  let odd1 = w1 * (-2 * a / 3)
  let even2 = (w0 + w2 * 2) * (1.0 / 6)
  let odd2 = w1 * (b / 6)
  return (w0, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, w2)
}

/// Gᵀ: six frequencies to the gradient of three positions of a kernel.
@inline(__always)
func kernelGradientTransform(
  _ u0: Vector, _ u1: Vector, _ u2: Vector, _ u3: Vector, _ u4: Vector, _ u5: Vector
) -> Vectors3 {
  let (s1, s2) = ((u1 + u2) * (-1.0 / 3), (u3 + u4) * (1.0 / 6))
  let odd = ((u1 - u2) * (-2 * a / 3)) + (u3 - u4) * (b / 6)
  return (u0 + s1 * 2 + s2, odd, s1 + s2 * 2 + u5)
}
