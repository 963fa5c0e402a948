#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The floating-point mode of a thread: IEEE 754's default, or what a library made of it.
///
/// Bitwise reproducibility needs round-to-nearest and subnormal numbers. A library that was linked with `-ffast-math` on
/// one host sets flush-to-zero for the thread that loads it, and new threads inherit that.
public enum FloatingPointEnvironment {
  /// Sets the calling thread to round to nearest, ties to even, without flush-to-zero, and asserts that this worked.
  public static func setDefault() {
    // C's FE_DFL_ENV, a cast that Swift does not import. It also clears flush-to-zero and denormals-are-zero.
    fesetenv(UnsafePointer<fenv_t>(bitPattern: -1))
    precondition(isDefault, "this CPU does not round to nearest or flushes subnormal numbers to zero")
  }

  /// Whether the calling thread rounds to nearest, ties to even, and keeps subnormal numbers.
  public static var isDefault: Bool {
    let half: Float = 0x1p-24
    let roundsToNearest = sum(1, half) == 1 && sum(1 + 0x1p-23, half) == 1 + 0x1p-22
    let keepsSubnormals =
      product(Float.leastNormalMagnitude, 0.5) > 0 && product(Float.leastNonzeroMagnitude, 0x1p100) > 0
    return roundsToNearest && keepsSubnormals
  }

  // Not folded by the compiler, which rounds to nearest whatever the thread does.
  @inline(never) @_optimize(none)
  private static func sum(_ a: Float, _ b: Float) -> Float { a + b }
  @inline(never) @_optimize(none)
  private static func product(_ a: Float, _ b: Float) -> Float { a * b }
}
