/// The strides of a matrix product: C[r, j] (+)= Σ_s Σ_k A[s, r, k] · B[s, k, j].
///
/// Each element of the product is one chain of fused multiply-adds over s and then over k, however the product is cut
/// into microkernels. So the result does not depend on microkernels and instruction set. All strides are in floats.
struct GEMMShape {
  /// The extent of s.
  var outerDepth = 1
  /// From one s of A to the next.
  var outerStrideA = 0
  /// From one s of B to the next.
  var outerStrideB = 0
  /// The extent of k.
  var depth: Int
  /// From one row of A to the next.
  var rowStrideA: Int
  /// From one k of A to the next.
  var depthStrideA: Int
  /// From one k of B to the next; columns are contiguous.
  var depthStrideB: Int
  /// From one row of C to the next; columns are contiguous.
  var rowStrideC: Int
  /// Whether the chain of multiply-adds starts with C instead of 0.
  var accumulates = false
  /// Whether the finished product is added to C: a long sum in blocks has smaller errors than one chain.
  var addsToC = false
}

/// Computes R rows and 16·N columns of a product, all of them in registers.
///
/// Index arithmetic wraps: checked arithmetic keeps the loop from being unrolled and costs three quarters of the speed.
@inline(__always)
private func microkernel<let R: Int, let N: Int>(
  _ zero: InlineArray<R, InlineArray<N, Vector>>, _ shape: GEMMShape, rowStrideA: Int, rowStrideC: Int,
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  var sums = zero
  let depthStrideA = shape.depthStrideA
  let (depthStrideB, depth) = (shape.depthStrideB, shape.depth)
  if shape.accumulates {
    for r in 0..<R { for j in 0..<N { sums[r][j] = (c + (r &* rowStrideC &+ j &* 16)).vector } }
  }
  var (outerA, outerB) = (a, b)
  for _ in 0..<shape.outerDepth {
    var (nextA, nextB) = (outerA, outerB)
    for _ in 0..<depth {
      var row = InlineArray<N, Vector>(repeating: Vector())
      for j in 0..<N { row[j] = (nextB + j &* 16).vector }
      for r in 0..<R {
        let factor = Vector(repeating: nextA[r &* rowStrideA])
        for j in 0..<N { sums[r][j] = sums[r][j].addingProduct(factor, row[j]) }
      }
      nextA += depthStrideA
      nextB += depthStrideB
    }
    outerA += shape.outerStrideA
    outerB += shape.outerStrideB
  }
  if shape.addsToC {
    for r in 0..<R { for j in 0..<N { sums[r][j] += (c + (r &* rowStrideC &+ j &* 16)).vector } }
  }
  for r in 0..<R { for j in 0..<N { (c + (r &* rowStrideC &+ j &* 16)).store(sums[r][j]) } }
}

/// The same at any distance of rows.
@inline(__always)
private func microkernel<let R: Int, let N: Int>(
  _ zero: InlineArray<R, InlineArray<N, Vector>>, _ shape: GEMMShape, _ a: UnsafePointer<Float>,
  _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zero, shape, rowStrideA: shape.rowStrideA, rowStrideC: shape.rowStrideC, a, b, c)
}

/// A GEMM of a fixed number of rows and columns, for `microkernelRxC` R rows and C columns.
typealias Microkernel = (GEMMShape, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void

@inline(__always)
private func zeros<let R: Int, let N: Int>() -> InlineArray<R, InlineArray<N, Vector>> {
  // From a closure: `repeating:` of 16 rows is called out of line, which cost a fifth of such a microkernel.
  InlineArray { _ in InlineArray { _ in Vector() } }
}

#if WRN_AVX512
  /// Microkernels of R rows of A at a distance of S floats, and 16 columns.
  ///
  /// Rows at a constant distance are constant displacements of one address. For others, the compiler steps an address from row
  /// to row: sixteen dependent additions per k, which kept products of 16 columns at 43 % of the peak with AVX-512. Each
  /// distance has a function: the compiler joins loops that differ in a constant only.
  private enum Rows<let R: Int, let S: Int> {
    @inline(never) static func multiply(
      _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
    ) {
      let zero: InlineArray<R, InlineArray<1, Vector>> = zeros()
      if s.rowStrideC == 16 {
        microkernel(zero, s, rowStrideA: S, rowStrideC: 16, a, b, c)
      } else {
        microkernel(zero, s, rowStrideA: S, rowStrideC: s.rowStrideC, a, b, c)
      }
    }
  }

  // AVX-512 has 32 registers of 16 lanes: 16 to 24 sums hide the latency of two FMA units and leave room for a row of B.
  @inline(never) func microkernel6x64(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    microkernel(zeros() as InlineArray<6, InlineArray<4, Vector>>, s, a, b, c)
  }
  @inline(never) func microkernel4x64(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    microkernel(zeros() as InlineArray<4, InlineArray<4, Vector>>, s, a, b, c)
  }
  @inline(never) func microkernel1x64(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    microkernel(zeros() as InlineArray<1, InlineArray<4, Vector>>, s, a, b, c)
  }
  @inline(never) func microkernel8x32(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    microkernel(zeros() as InlineArray<8, InlineArray<2, Vector>>, s, a, b, c)
  }
  @inline(never) func microkernel1x32(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    microkernel(zeros() as InlineArray<1, InlineArray<2, Vector>>, s, a, b, c)
  }
  @inline(never) func microkernel16x16(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    switch s.rowStrideA {
    case 1: Rows<16, 1>.multiply(s, a, b, c)
    case 3: Rows<16, 3>.multiply(s, a, b, c)
    case 16: Rows<16, 16>.multiply(s, a, b, c)
    case 32: Rows<16, 32>.multiply(s, a, b, c)
    case 48: Rows<16, 48>.multiply(s, a, b, c)
    case 64: Rows<16, 64>.multiply(s, a, b, c)
    case 80: Rows<16, 80>.multiply(s, a, b, c)
    case 96: Rows<16, 96>.multiply(s, a, b, c)
    default: microkernel(zeros() as InlineArray<16, InlineArray<1, Vector>>, s, a, b, c)
    }
  }
  @inline(never) func microkernel9x16(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    switch s.rowStrideA {
    case 1: Rows<9, 1>.multiply(s, a, b, c)
    default: microkernel(zeros() as InlineArray<9, InlineArray<1, Vector>>, s, a, b, c)
    }
  }
  @inline(never) func microkernel8x16(
    _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    microkernel(zeros() as InlineArray<8, InlineArray<1, Vector>>, s, a, b, c)
  }
#endif
// AVX2 has 16 registers, two per vector of 16 lanes: six sums leave room for a row of B. NEON has 32, four per vector.
@inline(never) func microkernel6x16(
  _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zeros() as InlineArray<6, InlineArray<1, Vector>>, s, a, b, c)
}
@inline(never) func microkernel5x16(
  _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zeros() as InlineArray<5, InlineArray<1, Vector>>, s, a, b, c)
}
@inline(never) func microkernel4x16(
  _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zeros() as InlineArray<4, InlineArray<1, Vector>>, s, a, b, c)
}
@inline(never) func microkernel1x16(
  _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zeros() as InlineArray<1, InlineArray<1, Vector>>, s, a, b, c)
}
