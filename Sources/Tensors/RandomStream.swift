import Support

/// A counter-based random number generator: number `i` is a pure function of (seed, purpose, step, i).
///
/// It has no state to save. Any rank can compute any number of any stream at any time, so a run does not depend on
/// ranks, threads or restarts. The generator is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014) applied to a counter. Its finalizer also mixes seed, purpose and step into the key.
public struct RandomStream: Sendable {
  private let key: UInt64

  /// Creates the stream for one purpose.
  ///
  /// Streams that differ in seed, purpose or step are unrelated.
  ///
  /// - Parameters:
  ///   - seed: The seed of the run.
  ///   - purpose: The use of the numbers, for example `shuffle queue`.
  ///   - step: An index that distinguishes streams of one purpose, for example an epoch.
  public init(seed: UInt64, purpose: String, step: UInt64 = 0) {
    key = Self.mix(Self.mix(Self.mix(seed) ^ FNV1a(purpose).value) ^ step)
  }

  /// Returns number `index` of the stream, uniform over all 64-bit values.
  @inline(__always)
  public func bits(_ index: UInt64) -> UInt64 {
    Self.mix(key &+ index &* 0x9e37_79b9_7f4a_7c15)
  }

  /// Returns an integer uniform over `0..<bound`, from number `index` of the stream.
  ///
  /// The integer is the high half of a 128-bit product; its bias is below bound / 2^64.
  ///
  /// - Precondition: `bound` is positive.
  @inline(__always)
  public func integer(_ index: UInt64, below bound: Int) -> Int {
    precondition(bound > 0, "the bound must be positive")
    return Int(bits(index).multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// Returns a number uniform over [0, 1) with 53 random bits, from number `index` of the stream.
  @inline(__always)
  public func uniform(_ index: UInt64) -> Double { Double(bits(index) >> 11) * 0x1p-53 }

  /// Fills `values` with normally distributed numbers of mean 0 and the given standard deviation.
  ///
  /// Marsaglia's polar method (SIAM Review 6, 1964) needs only a logarithm and a square root, so the numbers are bitwise
  /// identical on every machine.
  public func fillNormal(_ values: UnsafeMutableBufferPointer<Float>, standardDeviation: Double) {
    var index: UInt64 = 0
    var position = 0
    while position < values.count {
      let u = 2 * uniform(index) - 1
      let v = 2 * uniform(index &+ 1) - 1
      index &+= 2
      let s = u * u + v * v
      guard s > 0 && s < 1 else { continue }
      let factor = standardDeviation * (-2 * ReproducibleMath.log(s) / s).squareRoot()
      values[position] = Float(u * factor)
      if position + 1 < values.count { values[position + 1] = Float(v * factor) }
      position += 2
    }
  }

  /// Fills `values` with numbers uniform over [−limit, limit).
  public func fillUniform(_ values: UnsafeMutableBufferPointer<Float>, limit: Double) {
    for i in values.indices { values[i] = Float((2 * uniform(UInt64(i)) - 1) * limit) }
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9e37_79b9_7f4a_7c15
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
