/// A 64-bit checksum of floats that costs about as much as reading them: two running sums per vector lane, as Fletcher's.
///
/// It detects every change of a single bit, and other damage except with a probability near 2⁻⁶⁴. It does not resist an
/// attacker. The value depends on the bits and their positions alone.
///
/// Fletcher, "An arithmetic checksum for serial transmissions", 1982.
public enum BlockChecksum {
  /// Returns the checksum of a block.
  ///
  /// - Parameters:
  ///   - values: The first of `count` floats.
  ///   - count: The number of floats.
  /// - Returns: The checksum.
  public static func value(_ values: UnsafePointer<Float>, count: Int) -> UInt64 {
    let bytes = UnsafeRawPointer(values)
    var sum = SIMD8<UInt64>()
    var sumOfSums = SIMD8<UInt64>()
    let vectorCount = count / 16
    for i in 0..<vectorCount {
      sum &+= bytes.loadUnaligned(fromByteOffset: 64 * i, as: SIMD8<UInt64>.self)
      sumOfSums &+= sum
    }
    // Odd factors: a change of one lane changes the total.
    var (first, second) = (UInt64(count), UInt64(0))
    for lane in 0..<8 {
      let factor = UInt64(2 * lane + 1) &* 0x9e37_79b9_7f4a_7c15
      first &+= sum[lane] &* factor
      second &+= sumOfSums[lane] &* factor
    }
    for i in vectorCount * 16..<count {
      first = (first &+ UInt64(values[i].bitPattern)) &* 0x9e37_79b9_7f4a_7c15
    }
    return mix(first) &+ mix(second ^ 0x5555_5555_5555_5555)
  }

  /// Returns a bijective function of a number that spreads its bits (the finalizer of SplitMix64).
  public static func mix(_ number: UInt64) -> UInt64 {
    var x = number
    x = (x ^ x >> 30) &* 0xbf58_476d_1ce4_e5b9
    x = (x ^ x >> 27) &* 0x94d0_49bb_1331_11eb
    return x ^ x >> 31
  }
}
