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
  _ zero: InlineArray<R, InlineArray<N, Vector>>, _ shape: GEMMShape, _ a: UnsafePointer<Float>,
  _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  var sums = zero
  let (rowStrideA, depthStrideA) = (shape.rowStrideA, shape.depthStrideA)
  let (depthStrideB, rowStrideC, depth) = (shape.depthStrideB, shape.rowStrideC, shape.depth)
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

/// A GEMM of a fixed number of rows and columns, for `microkernelRxC` R rows and C columns.
typealias Microkernel = (GEMMShape, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void

@inline(__always)
private func zeros<let R: Int, let N: Int>() -> InlineArray<R, InlineArray<N, Vector>> {
  // From a closure: `repeating:` of 16 rows is called out of line, which cost a fifth of such a microkernel.
  InlineArray { _ in InlineArray { _ in Vector() } }
}

#if WRN_AVX512
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
    microkernel(zeros() as InlineArray<16, InlineArray<1, Vector>>, s, a, b, c)
  }
#endif
@inline(never) func microkernel9x16(
  _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zeros() as InlineArray<9, InlineArray<1, Vector>>, s, a, b, c)
}
@inline(never) func microkernel8x16(
  _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zeros() as InlineArray<8, InlineArray<1, Vector>>, s, a, b, c)
}
// AVX2 has 16 registers, two per vector of 16 lanes: six sums leave room for a row of B. NEON has 32, four per vector.
@inline(never) func microkernel6x16(
  _ s: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  microkernel(zeros() as InlineArray<6, InlineArray<1, Vector>>, s, a, b, c)
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
