import Tensors

/// Winograd's algorithm on the phases of the input, for 3×3 convolutions of stride 2.
///
/// Along one axis, output p depends on input pixels 2p, 2p + 1 and 2p + 2. The even ones are a convolution with two taps,
/// w₀ and w₂: F(4, 2) computes four outputs with five products. The odd ones have one tap, w₁, and four products. In two
/// dimensions that makes 25 + 20 + 20 + 16 = 81 products for 4×4 outputs instead of 144.
///
/// The 81 positions are in four families, one after another: 5×5 (both axes even), 5×4 (rows even; columns odd,
/// untransformed), 4×5 (stored column by column, 5 columns of 4) and 4×4. Where an axis is untransformed, its positions
/// share one weight matrix, so there are 36 of these.
enum Polyphase: TiledAlgorithm {
  static var positionCount: Int { 81 }
  static var weightMatrixCount: Int { 36 }
  static var stride: Int { 2 }

  @inline(__always)
  static func positions(of matrix: Int) -> (first: Int, count: Int) {
    switch matrix {
    case 0..<25: (matrix, 1)
    case 25..<35: (25 &+ 4 &* (matrix &- 25), 4)
    default: (65, 16)
    }
  }

  static func supports(_ g: ConvolutionGeometry) -> Bool {
    g.kernelSize == 3 && g.stride == 2 && g.paddingBefore <= 1
      && g.outputHeight == (g.inputHeight + 1) / 2 && g.outputWidth == (g.inputWidth + 1) / 2
      && g.inputChannels.isMultiple(of: 16) && g.outputChannels.isMultiple(of: 16)
      && TiledPlan<Self>.coverage(g) >= 0.6
  }

  static var windowOverlap: Int { 1 }

  /// A window has one more row and column than a tile: at its end, or at its start if zeros come before.
  static func zerosBefore(_ g: ConvolutionGeometry) -> (input: Int, outputGradient: Int) {
    (g.paddingBefore, 1 - g.paddingBefore)
  }
}

/// Five positions along one axis.
typealias Vectors5 = (Vector, Vector, Vector, Vector, Vector)
/// Two taps of a weight along one axis.
typealias Vectors2 = (Vector, Vector)

// The one-dimensional transforms of F(4, 2): four outputs of a convolution with two taps from five products.
//
// The points ±1/2, ±5/4 and ∞ are exact in binary. Errors are half of those with 0, ±1, 2 and ∞, the largest a quarter.
// Matrices as in Lavin and Gray (arXiv 1509.09308): y = Aᵀ[(G w) ⊙ (Bᵀ x)].
extension Polyphase {
  /// Bᵀ: five input pixels of the even phase to five positions.
  @inline(__always)
  static func inputTransform(
    _ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector, _ d4: Vector
  ) -> Vectors5 {
    let odd1 = d3.addingProduct(Vector(repeating: -1.5625), d1)
    let even1 = d2.addingProduct(Vector(repeating: -1.5625), d0) * 0.5
    let odd2 = d3.addingProduct(Vector(repeating: -0.25), d1)
    let even2 = d2.addingProduct(Vector(repeating: -0.25), d0) * 1.25
    return (
      odd1 + even1, odd1 - even1, odd2 + even2, odd2 - even2,
      d4.addingProduct(Vector(repeating: 0.390625), d0).addingProduct(Vector(repeating: -1.8125), d2)
    )
  }

  /// Aᵀ: five positions to four output pixels.
  @inline(__always)
  static func outputTransform(
    _ m0: Vector, _ m1: Vector, _ m2: Vector, _ m3: Vector, _ m4: Vector
  ) -> Vectors4 {
    let (s1, t1, s2, t2) = (m0 + m1, m0 - m1, m2 + m3, m2 - m3)
    return (
      s1 + s2, (t2 * 1.25).addingProduct(Vector(repeating: 0.5), t1),
      (s2 * 1.5625).addingProduct(Vector(repeating: 0.25), s1),
      m4.addingProduct(Vector(repeating: 1.953125), t2).addingProduct(Vector(repeating: 0.125), t1)
    )
  }

  /// A: four pixels of an output gradient to five positions.
  @inline(__always)
  static func outputGradientTransform(_ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector) -> Vectors5 {
    let even1 = d0.addingProduct(Vector(repeating: 0.25), d2)
    let odd1 = d1.addingProduct(Vector(repeating: 0.25), d3) * 0.5
    let even2 = d0.addingProduct(Vector(repeating: 1.5625), d2)
    let odd2 = d1.addingProduct(Vector(repeating: 1.5625), d3) * 1.25
    return (even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, d3)
  }

  /// G: the two taps of the even phase to five positions.
  @inline(__always)
  static func weightTransform(_ w0: Vector, _ w2: Vector) -> Vectors5 {
    let (near, far) = (w0 * (16.0 / 21), w0 * (32.0 / 105))
    let tap = w2 * (8.0 / 21)
    return (-near - tap, near - tap, far + tap, tap - far, w2)
  }

  /// Gᵀ: five positions to the gradient of the two taps of the even phase.
  @inline(__always)
  static func weightGradientTransform(
    _ u0: Vector, _ u1: Vector, _ u2: Vector, _ u3: Vector, _ u4: Vector
  ) -> Vectors2 {
    let far = (u2 - u3) * (32.0 / 105)
    return (
      far.addingProduct(Vector(repeating: 16.0 / 21), u1 - u0),
      u4.addingProduct(Vector(repeating: 8.0 / 21), (u2 - u0) + (u3 - u1))
    )
  }
}
