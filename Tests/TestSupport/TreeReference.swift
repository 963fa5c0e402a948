/// The tree sum in its plainest form: pair up neighbours, carry an odd one up, until one is left.
public func referenceSum<Value>(_ leaves: [Value], _ add: (Value, Value) -> Value) -> Value {
  var level = leaves
  while level.count > 1 {
    level = stride(from: 0, to: level.count, by: 2).map { left in
      left + 1 < level.count ? add(level[left], level[left + 1]) : level[left]
    }
  }
  return level[0]
}

/// A small generator (SplitMix64), so that a failing case can be run again.
public struct TestNumbers {
  private var state: UInt64

  /// Starts a sequence.
  public init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }

  /// A number from 0 up to, not including, a bound.
  public mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  /// A number of any kind: usual ones of very different sizes, zeros of both signs, denormals,
  /// infinities and NaN.
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

  /// The same for single precision.
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

/// Equal bits; any NaN equals any other, since its payload is not promised.
public func sameBits(_ left: Double, _ right: Double) -> Bool {
  left.bitPattern == right.bitPattern || (left.isNaN && right.isNaN)
}

/// Equal bits; any NaN equals any other, since its payload is not promised.
public func sameBits(_ left: Float, _ right: Float) -> Bool {
  left.bitPattern == right.bitPattern || (left.isNaN && right.isNaN)
}
