/// A reference implementation of the tree sum: adds neighbors in pairs and moves an odd one up, until one is left.
public func referenceSum<Value>(_ leaves: [Value], _ add: (Value, Value) -> Value) -> Value {
  var level = leaves
  while level.count > 1 {
    level = stride(from: 0, to: level.count, by: 2).map { left in
      left + 1 < level.count ? add(level[left], level[left + 1]) : level[left]
    }
  }
  return level[0]
}

/// A small random number generator (SplitMix64) with a seed, so that a failing case can be repeated.
public struct TestNumbers {
  private var state: UInt64

  /// Starts the sequence of a seed.
  public init(seed: UInt64) { state = seed }

  /// Returns the next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }

  /// Returns a number in 0 ..< `bound`.
  public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  /// Returns a number of any kind: normal numbers of very different magnitudes, zeros of both signs, denormals, infinities
  /// and NaN.
  public mutating func double() -> Double {
    switch below(24) {
    case 0: -0.0
    case 1: 0
    case 2: Double.leastNonzeroMagnitude * Double(below(1_000))
    case 3: -Double.leastNormalMagnitude / 4
    case 4: below(6) == 0 ? .infinity : 1e300
    case 5: below(6) == 0 ? -.infinity : -1e300
    case 6: below(6) == 0 ? .nan : 1
    default:
      Double(Int64(bitPattern: next()) >> 11)
        * Double(sign: .plus, exponent: below(60) - 80, significand: 1)
    }
  }

  /// Returns a number of any kind in single precision.
  public mutating func float() -> Float {
    switch below(24) {
    case 0: -0.0
    case 1: 0
    case 2: Float.leastNonzeroMagnitude * Float(below(1_000))
    case 3: -Float.leastNormalMagnitude / 4
    case 4: below(6) == 0 ? .infinity : 1e38
    case 5: below(6) == 0 ? -.infinity : -1e38
    case 6: below(6) == 0 ? .nan : 1
    default:
      Float(Int32(truncatingIfNeeded: next() >> 40) - 8_388_608)
        * Float(sign: .plus, exponent: below(40) - 40, significand: 1)
    }
  }
}

/// Returns whether two numbers are bitwise identical; any NaN equals any other, since its payload is unspecified.
public func sameBits(_ left: Double, _ right: Double) -> Bool {
  left.bitPattern == right.bitPattern || (left.isNaN && right.isNaN)
}

/// Returns whether two numbers are bitwise identical; any NaN equals any other, since its payload is unspecified.
public func sameBits(_ left: Float, _ right: Float) -> Bool {
  left.bitPattern == right.bitPattern || (left.isNaN && right.isNaN)
}
