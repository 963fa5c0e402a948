/// Elementary functions whose results are bitwise identical on every CPU.
///
/// The C library selects its `exp`, `log` and `cos` by CPU, with or without fused multiply-add, and their last bits differ.
/// These functions use only IEEE 754 additions, subtractions, multiplications and divisions in a fixed order, which every
/// CPU rounds alike. They serve the few values where reproducibility matters and speed does not: initial values, the ten
/// logits of an image, an optimizer's bias correction, learning rates.
public enum ReproducibleMath {
  private static let ln2High = 0x1.62e42fefa3800p-1
  private static let ln2Low = 0x1.ef35793c76730p-45

  /// Returns the natural logarithm, with a relative error below 1e-14.
  ///
  /// x = m·2^e with m between √½ and √2; log m = 2·artanh((m − 1)/(m + 1)), summed as its Taylor series.
  ///
  /// - Precondition: `x` is positive and finite.
  public static func log(_ x: Double) -> Double {
    precondition(x > 0 && x.isFinite, "the argument of a logarithm must be positive and finite")
    var mantissa = x.significand
    var exponent = Double(x.exponent)
    if mantissa > 1.4142135623730951 {
      mantissa *= 0.5
      exponent += 1
    }
    let s = (mantissa - 1) / (mantissa + 1)
    let square = s * s
    // |s| ≤ 0.1716, so the 13th term is below 2^-56 of the first.
    var sum = 0.0
    var power = 25.0
    while power >= 1 {
      sum = sum * square + 1 / power
      power -= 2
    }
    return exponent * ln2High + (2 * s * sum + exponent * ln2Low)
  }

  /// Returns e to the power `x`, with a relative error below 4e-15; 0 below −745, infinity above 710, NaN for NaN.
  ///
  /// x = k·ln 2 + r with |r| ≤ ½ ln 2; exp r is summed as its Taylor series.
  public static func exp(_ x: Double) -> Double {
    if x.isNaN { return x }
    if x < -745 { return 0 }
    if x > 710 { return .infinity }
    let k = (x * 1.4426950408889634).rounded(.toNearestOrEven)
    let r = (x - k * ln2High) - k * ln2Low
    // |r| ≤ 0.3466, so the 15th term is below 2^-60.
    var sum = 1.0
    var n = 15.0
    while n >= 1 {
      sum = 1 + r * sum / n
      n -= 1
    }
    let half = Int(k / 2)
    return sum * Double(sign: .plus, exponent: half, significand: 1)
      * Double(sign: .plus, exponent: Int(k) - half, significand: 1)
  }

  /// Returns cos(π·x), with a relative error below 2e-15; exactly 0 where x is an odd multiple of ½.
  ///
  /// x is reduced to [0, ½] without rounding, then cos πx or sin π(½ − x) is summed as its Taylor series. Multiples of π
  /// are exact this way, which `cos` of a rounded π·x cannot give. An infinity or NaN gives NaN.
  public static func cos(piTimes x: Double) -> Double {
    var fraction = x.magnitude.truncatingRemainder(dividingBy: 2)
    if fraction > 1 { fraction = 2 - fraction }
    let isNegative = fraction > 0.5
    if isNegative { fraction = 1 - fraction }
    let isCosine = fraction <= 0.25
    let angle = Double.pi * (isCosine ? fraction : 0.5 - fraction)
    let square = angle * angle
    // |angle| ≤ π/4, so the first omitted terms, of orders 18 and 19, are below 2^-58 of the sum.
    var sum = 1.0
    var n = isCosine ? 16.0 : 17.0
    while n >= 2 {
      sum = 1 - square * sum / (n * (n - 1))
      n -= 2
    }
    let value = isCosine ? sum : angle * sum
    return isNegative ? -value : value
  }

  /// Returns `base` to an integer power, computed by repeated squaring.
  ///
  /// - Precondition: `exponent` is not negative.
  public static func power(_ base: Double, _ exponent: Int) -> Double {
    precondition(exponent >= 0, "the exponent must not be negative")
    var result = 1.0
    var square = base
    var remaining = exponent
    while remaining > 0 {
      if remaining & 1 == 1 { result *= square }
      square *= square
      remaining >>= 1
    }
    return result
  }
}
