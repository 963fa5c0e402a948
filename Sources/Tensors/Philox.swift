/// Philox4x32-10, a counter-based generator: 128 random bits are a pure function of a 128-bit counter and a 64-bit key.
///
/// From Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. JAX, PyTorch's CUDA
/// generator and cuRAND have the same function.
public enum Philox4x32 {
  /// The rounds of the recommended version.
  @inlinable public static var roundCount: Int { 10 }
  /// The factors of words 0 and 2 of the counter.
  @inlinable public static var multipliers: (UInt32, UInt32) { (0xd251_1f53, 0xcd9e_8d57) }
  /// The numbers that are added to the key after each round.
  @inlinable public static var keyIncrements: (UInt32, UInt32) { (0x9e37_79b9, 0xbb67_ae85) }

  /// Returns the 128 random bits of a counter.
  ///
  /// - Parameters:
  ///   - counter: The position in the stream.
  ///   - key: The stream.
  /// - Returns: Four words, uniform over all values.
  public static func block(_ counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
    var (x, key) = (counter, key)
    for _ in 0..<roundCount {
      let (even, odd) = (
        multipliers.0.multipliedFullWidth(by: x[0]), multipliers.1.multipliedFullWidth(by: x[2])
      )
      x = SIMD4(odd.high ^ x[1] ^ key[0], odd.low, even.high ^ x[3] ^ key[1], even.low)
      key = SIMD2(key[0] &+ keyIncrements.0, key[1] &+ keyIncrements.1)
    }
    return x
  }
}
