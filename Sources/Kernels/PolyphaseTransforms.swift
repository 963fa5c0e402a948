// The one-dimensional transforms of F(4, 2): four outputs of a convolution with two taps from five products.
//
// Points 0, 1, −1, 2 and ∞. Matrices as in Lavin and Gray (arXiv 1509.09308): y = Aᵀ[(G w) ⊙ (Bᵀ x)].

/// Five values along one axis.
typealias Five = (Vector, Vector, Vector, Vector, Vector)
/// Two taps of a kernel along one axis.
typealias Two = (Vector, Vector)

/// Bᵀ d: five input positions of one phase to five frequencies.
@inline(__always)
func evenInputTransform(
  _ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector, _ d4: Vector
) -> Five {
  let (t, u) = (d3 - d1, d3 - d2)
  let two = Vector(repeating: 2)
  return (
    t.addingProduct(two, d0 - d2), u - two * d1, u.addingProduct(two, d1 - d2), t,
    (d4 - d2) - two * t
  )
}

/// Aᵀ m: five frequencies to four output positions.
@inline(__always)
func evenOutputTransform(
  _ m0: Vector, _ m1: Vector, _ m2: Vector, _ m3: Vector, _ m4: Vector
) -> Four {
  let (sum, difference) = (m1 + m2, m1 - m2)
  return (
    m0 + sum + m3, difference.addingProduct(Vector(repeating: 2), m3),
    sum.addingProduct(Vector(repeating: 4), m3),
    (difference + m4).addingProduct(Vector(repeating: 8), m3)
  )
}

/// A d: four output-gradient positions to five frequencies.
@inline(__always)
func evenGradientTransform(_ d0: Vector, _ d1: Vector, _ d2: Vector, _ d3: Vector) -> Five {
  let (even, odd) = (d0 + d2, d1 + d3)
  let even2 = d0.addingProduct(Vector(repeating: 4), d2)
  let odd2 = d1.addingProduct(Vector(repeating: 4), d3)
  return (d0, even + odd, even - odd, even2.addingProduct(Vector(repeating: 2), odd2), d3)
}

/// G w: the two taps of the even phase to five frequencies.
@inline(__always)
func evenKernelTransform(_ w0: Vector, _ w2: Vector) -> Five {
  let sixth = Vector(repeating: 1.0 / 6)
  return (
    w0 * 0.5, (w0 + w2) * -0.5, (w2 - w0) * sixth, w0.addingProduct(Vector(repeating: 2), w2) * sixth, w2
  )
}

/// Gᵀ u: five frequencies to the gradients of the two taps of the even phase.
@inline(__always)
func evenKernelGradientTransform(
  _ u0: Vector, _ u1: Vector, _ u2: Vector, _ u3: Vector, _ u4: Vector
) -> Two {
  let sixth = Vector(repeating: 1.0 / 6)
  return (
    ((u0 - u1) * 0.5).addingProduct(sixth, u3 - u2),
    (u4 - u1 * 0.5).addingProduct(sixth, u3 * 2 + u2)
  )
}
