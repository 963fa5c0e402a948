/// A product of matrices that lie in memory in regular steps: C[r, j] (+)= Σ_s Σ_k A[s, r, k] · B[s, k, j].
///
/// Each element of C is one chain of fused multiply-adds over the segments s and then over k, however the product is cut
/// into tiles; that makes it independent of tile shapes and instruction set. All strides are in floats.
struct GEMMShape {
  /// The number of segments.
  var segments = 1
  /// From one segment of A to the next.
  var segmentStrideA = 0
  /// From one segment of B to the next.
  var segmentStrideB = 0
  /// The number of terms of a segment, the extent of k.
  var depth: Int
  /// From one row of A to the next.
  var rowStrideA: Int
  /// From one k of A to the next.
  var depthStrideA: Int
  /// From one k of B to the next; its columns are consecutive.
  var depthStrideB: Int
  /// From one row of C to the next; its columns are consecutive.
  var rowStrideC: Int
  /// Whether the product is added to what C holds.
  var accumulates = false
}

/// Computes R rows and 16·N columns of a product, all held in registers.
///
/// Index arithmetic wraps: checked arithmetic keeps the loop from being unrolled and costs three quarters of the speed.
@inline(__always)
private func tile<let R: Int, let N: Int>(
  _ zero: InlineArray<R, InlineArray<N, Vector>>, _ product: GEMMShape, _ a: UnsafePointer<Float>,
  _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  var sums = zero
  let (rowStrideA, depthStrideA) = (product.rowStrideA, product.depthStrideA)
  let (depthStrideB, rowStrideC, depth) = (product.depthStrideB, product.rowStrideC, product.depth)
  if product.accumulates {
    for r in 0..<R { for j in 0..<N { sums[r][j] = (c + (r &* rowStrideC &+ j &* 16)).vector } }
  }
  var (segmentA, segmentB) = (a, b)
  for _ in 0..<product.segments {
    var (nextA, nextB) = (segmentA, segmentB)
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
    segmentA += product.segmentStrideA
    segmentB += product.segmentStrideB
  }
  for r in 0..<R { for j in 0..<N { (c + (r &* rowStrideC &+ j &* 16)).store(sums[r][j]) } }
}

/// A tile of a fixed size.
typealias Microkernel = (GEMMShape, UnsafePointer<Float>, UnsafePointer<Float>, UnsafeMutablePointer<Float>) -> Void

@inline(__always)
private func zeros<let R: Int, let N: Int>() -> InlineArray<R, InlineArray<N, Vector>> {
  // From a closure: `repeating:` of 16 rows is called out of line, which cost a fifth of such a tile.
  InlineArray { _ in InlineArray { _ in Vector() } }
}

#if WRN_AVX512
  // 32 registers of 16 lanes: 16 to 24 sums hide the latency of the two FMA units and leave room for a row of B.
  @inline(never) func microkernel6x64(
    _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    tile(zeros() as InlineArray<6, InlineArray<4, Vector>>, p, a, b, c)
  }
  @inline(never) func microkernel4x64(
    _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    tile(zeros() as InlineArray<4, InlineArray<4, Vector>>, p, a, b, c)
  }
  @inline(never) func microkernel1x64(
    _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    tile(zeros() as InlineArray<1, InlineArray<4, Vector>>, p, a, b, c)
  }
  @inline(never) func microkernel8x32(
    _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    tile(zeros() as InlineArray<8, InlineArray<2, Vector>>, p, a, b, c)
  }
  @inline(never) func microkernel1x32(
    _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    tile(zeros() as InlineArray<1, InlineArray<2, Vector>>, p, a, b, c)
  }
  @inline(never) func microkernel16x16(
    _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    tile(zeros() as InlineArray<16, InlineArray<1, Vector>>, p, a, b, c)
  }
#endif
// Two registers a vector of 16 lanes leave 12 of AVX2's 16 for sums.
@inline(never) func microkernel9x16(
  _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  tile(zeros() as InlineArray<9, InlineArray<1, Vector>>, p, a, b, c)
}
@inline(never) func microkernel8x16(
  _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  tile(zeros() as InlineArray<8, InlineArray<1, Vector>>, p, a, b, c)
}
@inline(never) func microkernel6x16(
  _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  tile(zeros() as InlineArray<6, InlineArray<1, Vector>>, p, a, b, c)
}
@inline(never) func microkernel4x16(
  _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  tile(zeros() as InlineArray<4, InlineArray<1, Vector>>, p, a, b, c)
}
@inline(never) func microkernel1x16(
  _ p: GEMMShape, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
) {
  tile(zeros() as InlineArray<1, InlineArray<1, Vector>>, p, a, b, c)
}
