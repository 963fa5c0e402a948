import Tensors

extension KernelBuild {
  /// Returns the build's loops that measure the roofline of this CPU: peak multiply-adds and memory bandwidth.
  @inline(never)
  public static func peakKernels() -> RooflineKernels {
    RooflineKernels(
      multiplyAddsPerIteration: chainCount * Vector.scalarCount, multiplyAdd: multiplyAdds, triad: triad)
  }
}

// Enough chains to hide the latency of two FMA units, and few enough for the registers.
#if WRN_AVX512
  private let chainCount = 16
  @inline(never) private func multiplyAdds(iterations: Int) -> Float {
    multiplyAdds(InlineArray<16, Vector>(repeating: Vector()), iterations: iterations)
  }
#else
  private let chainCount = 6
  @inline(never) private func multiplyAdds(iterations: Int) -> Float {
    multiplyAdds(InlineArray<6, Vector>(repeating: Vector()), iterations: iterations)
  }
#endif

/// Iterates s ← 1 + ½·s in N chains.
///
/// The starting values depend on an argument. The compiler folds a chain that it knows to start at 2, the fixed point, and
/// may join chains that it knows to be equal.
@inline(__always)
private func multiplyAdds<let N: Int>(_ zero: InlineArray<N, Vector>, iterations: Int) -> Float {
  let lanes = Vector(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + Vector(repeating: Float(iterations))
  var sums = zero
  for j in 0..<N { sums[j] = lanes + Vector(repeating: 16 * Float(j)) }
  let (factor, term) = (Vector(repeating: 0.5), Vector(repeating: 1))
  for _ in 0..<iterations {
    for j in 0..<N { sums[j] = term.addingProduct(sums[j], factor) }
  }
  var total = Vector()
  for j in 0..<N { total += sums[j] }
  return total.sum()
}

/// Computes a = b + ½·c.
@inline(never)
private func triad(
  _ a: UnsafeMutablePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafePointer<Float>, count: Int
) {
  let factor = Vector(repeating: 0.5)
  for i in stride(from: 0, to: count, by: 16) {
    (a + i).store((b + i).vector.addingProduct((c + i).vector, factor))
  }
}
