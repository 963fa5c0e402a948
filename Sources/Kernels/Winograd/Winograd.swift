import Tensors

/// Winograd's F(4×4, 3×3) for stride 1: 36 products per tile instead of 144 (Lavin and Gray, arXiv 1509.09308).
///
/// `docs/numerics.md` has its accuracy.
enum Winograd: TiledAlgorithm {
  static var positionCount: Int { 36 }
  static var weightMatrixCount: Int { 36 }
  static var stride: Int { 1 }

  @inline(__always)
  static func positions(of matrix: Int) -> (first: Int, count: Int) { (matrix, 1) }

  static func supports(_ g: ConvolutionGeometry) -> Bool {
    g.kernelSize == 3 && g.stride == 1 && g.paddingBefore == 1
      && g.outputHeight == g.inputHeight && g.outputWidth == g.inputWidth
      && g.inputChannels.isMultiple(of: 16) && g.outputChannels.isMultiple(of: 16)
      && TiledPlan<Self>.coverage(g) >= 0.25
  }

  static var windowOverlap: Int { 2 }

  static func zerosBefore(_ g: ConvolutionGeometry) -> (input: Int, outputGradient: Int) { (1, 1) }
}

/// Six Winograd-domain positions along one axis.
typealias Vectors6 = (Vector, Vector, Vector, Vector, Vector, Vector)
/// Four output pixels along one axis.
typealias Vectors4 = (Vector, Vector, Vector, Vector)
/// Six Winograd-domain positions along one axis, of one tile.
typealias TileVectors6 = (TileVector, TileVector, TileVector, TileVector, TileVector, TileVector)
/// Four output pixels along one axis, of one tile.
typealias TileVectors4 = (TileVector, TileVector, TileVector, TileVector)
/// Three taps of a weight along one axis.
typealias Vectors3 = (Vector, Vector, Vector)

// The one-dimensional transforms of F(4, 3) (Lavin and Gray, arXiv 1509.09308) at the points 0, ±√½, ±√2, ∞.
//
// These points have half the error of the usual 0, ±1, ±2, ∞. A two-dimensional transform applies them to rows and then to
// columns; y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A. Every ± pair is written e + p, e − p: a second constant of the other sign would
// not fit into the registers.
extension Winograd {
  /// √½.
  @inline(__always) private static var a: Float { 0.707_106_781_186_547_5 }
  /// √2.
  @inline(__always) private static var b: Float { 1.414_213_562_373_095_1 }

  /// Bᵀ: six input pixels to six positions.
  @inline(__always)
  static func inputTransform(
    _ d0: TileVector, _ d1: TileVector, _ d2: TileVector, _ d3: TileVector, _ d4: TileVector, _ d5: TileVector
  ) -> TileVectors6 {
    let even1 = d4.addingProduct(-2, d2)
    let odd1 = d3.addingProduct(-2, d1) * a
    let even2 = d4.addingProduct(-0.5, d2)
    let odd2 = d3.addingProduct(-0.5, d1) * b
    return (
      (d0 + d4).addingProduct(-2.5, d2), even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2,
      (d1 + d5).addingProduct(-2.5, d3)
    )
  }

  /// Aᵀ: six positions to four output pixels.
  @inline(__always)
  static func outputTransform(
    _ m0: TileVector, _ m1: TileVector, _ m2: TileVector, _ m3: TileVector, _ m4: TileVector, _ m5: TileVector
  ) -> TileVectors4 {
    let (s1, t1, s2, t2) = (m1 + m2, (m1 - m2) * a, m3 + m4, (m3 - m4) * b)
    return (
      m0 + s1 + s2, t1 + t2, (s2 * 2).addingProduct(0.5, s1), (m5 + t2 * 2).addingProduct(0.5, t1)
    )
  }

  /// A: four pixels of an output gradient to six positions.
  @inline(__always)
  static func outputGradientTransform(
    _ d0: TileVector, _ d1: TileVector, _ d2: TileVector, _ d3: TileVector
  ) -> TileVectors6 {
    let even1 = d0.addingProduct(0.5, d2)
    let odd1 = d1.addingProduct(0.5, d3) * a
    let even2 = d0.addingProduct(2, d2)
    let odd2 = d1.addingProduct(2, d3) * b
    return (d0, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, d3)
  }

  /// G: three taps of a weight to six positions.
  @inline(__always)
  static func weightTransform(_ w0: Vector, _ w1: Vector, _ w2: Vector) -> Vectors6 {
    let even1 = (w0 * 2 + w2) * (-1.0 / 3)
    let odd1 = w1 * (-2 * a / 3)
    let even2 = (w0 + w2 * 2) * (1.0 / 6)
    let odd2 = w1 * (b / 6)
    return (w0, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, w2)
  }

  /// Gᵀ: six positions to the gradient of three taps of a weight.
  @inline(__always)
  static func weightGradientTransform(
    _ u0: Vector, _ u1: Vector, _ u2: Vector, _ u3: Vector, _ u4: Vector, _ u5: Vector
  ) -> Vectors3 {
    let (s1, s2) = ((u1 + u2) * (-1.0 / 3), (u3 + u4) * (1.0 / 6))
    let odd = ((u1 - u2) * (-2 * a / 3)) + (u3 - u4) * (b / 6)
    return (u0 + s1 * 2 + s2, odd, s1 + s2 * 2 + u5)
  }
}
