// The one-dimensional transforms of F(4, 2): four outputs of a convolution with two taps from five products.
//
// Points ±1/2, ±5/4 and ∞, all exact in binary: errors are half as large as with 0, ±1, 2 and ∞, the largest a quarter.
// Matrices as in Lavin and Gray (arXiv 1509.09308): y = Aᵀ[(G w) ⊙ (Bᵀ x)].

/// Five values along one axis.
typealias Five = (Vector, Vector, Vector, Vector, Vector)
/// Two taps of a kernel along one axis.
typealias Two = (Vector, Vector)

/// Bᵀ d: five input positions of one phase to five frequencies.
@inline(__always)
func evenInputTransform(
  _ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector, _ d4: Vector
) -> Five {
  let odd1 = d3.addingProduct(Vector(repeating: -1.5625), d1)
  let even1 = d2.addingProduct(Vector(repeating: -1.5625), d0) * 0.5
  let odd2 = d3.addingProduct(Vector(repeating: -0.25), d1)
  let even2 = d2.addingProduct(Vector(repeating: -0.25), d0) * 1.25
  return (
    odd1 + even1, odd1 - even1, odd2 + even2, odd2 - even2,
    d4.addingProduct(Vector(repeating: 0.390625), d0).addingProduct(Vector(repeating: -1.8125), d2)
  )
}

/// Aᵀ m: five frequencies to four output positions.
@inline(__always)
func evenOutputTransform(
  _ m0: Vector, _ m1: Vector, _ m2: Vector, _ m3: Vector, _ m4: Vector
) -> Four {
  let (s1, t1, s2, t2) = (m0 + m1, m0 - m1, m2 + m3, m2 - m3)
  return (
    s1 + s2, (t2 * 1.25).addingProduct(Vector(repeating: 0.5), t1),
    (s2 * 1.5625).addingProduct(Vector(repeating: 0.25), s1),
    m4.addingProduct(Vector(repeating: 1.953125), t2).addingProduct(Vector(repeating: 0.125), t1)
  )
}

/// A d: four output-gradient positions to five frequencies.
@inline(__always)
func evenGradientTransform(_ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector) -> Five {
  let even1 = d0.addingProduct(Vector(repeating: 0.25), d2)
  let odd1 = d1.addingProduct(Vector(repeating: 0.25), d3) * 0.5
  let even2 = d0.addingProduct(Vector(repeating: 1.5625), d2)
  let odd2 = d1.addingProduct(Vector(repeating: 1.5625), d3) * 1.25
  return (even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, d3)
}

/// G w: the two taps of the even phase to five frequencies.
@inline(__always)
func evenKernelTransform(_ w0: Vector, _ w2: Vector) -> Five {
  let (near, far) = (w0 * (16.0 / 21), w0 * (32.0 / 105))
  let tap = w2 * (8.0 / 21)
  return (-near - tap, near - tap, far + tap, tap - far, w2)
}

/// Gᵀ u: five frequencies to the gradients of the two taps of the even phase.
@inline(__always)
func evenKernelGradientTransform(
  _ u0: Vector, _ u1: Vector, _ u2: Vector, _ u3: Vector, _ u4: Vector
) -> Two {
  let far = (u2 - u3) * (32.0 / 105)
  return (
    far.addingProduct(Vector(repeating: 16.0 / 21), u1 - u0),
    u4.addingProduct(Vector(repeating: 8.0 / 21), (u2 - u0) + (u3 - u1))
  )
}
