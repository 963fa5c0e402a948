/// 16 consecutive fp32 numbers: one register of AVX-512, two of AVX2, four of NEON.
///
/// All builds work in groups of 16 lanes that never mix, so every element is formed by the same operations everywhere.
typealias Vector = SIMD16<Float>

extension UnsafePointer<Float> {
  /// The 16 numbers from here on.
  @inline(__always) var vector: Vector { UnsafeRawPointer(self).loadUnaligned(as: Vector.self) }
}

extension UnsafeMutablePointer<Float> {
  /// The 16 numbers from here on.
  @inline(__always) var vector: Vector { UnsafeRawPointer(self).loadUnaligned(as: Vector.self) }

  /// Stores 16 numbers from here on.
  @inline(__always) func store(_ value: Vector) {
    UnsafeMutableRawPointer(self).storeBytes(of: value, as: Vector.self)
  }
}

extension Int {
  /// The next multiple of 16: whole vectors, whole cache lines.
  var roundedUpToVector: Int { (self &+ 15) & ~15 }
}
