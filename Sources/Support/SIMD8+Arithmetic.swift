// Divisions and square roots of eight lanes, one machine operation per register.
//
// The standard library spells them as eight scalar operations, and a square root as a branch for negative numbers as well.
// The optimizer does not join them again: Adam took 0.88 ms per step of WRN-22-1, and takes 0.49 ms with these. Where the
// compiler lends its builtins, operations are whole from the start; elsewhere results are bitwise identical.
#if hasFeature(BuiltinModule)
  import Builtin

  extension SIMD8<Float> {
    /// The quotients of these lanes and those of `divisor`, correctly rounded.
    @inlinable @inline(__always)
    public func divided(by divisor: Self) -> Self {
      var result = Self()
      result._storage._value = Builtin.fdiv_Vec8xFPIEEE32(_storage._value, divisor._storage._value)
      return result
    }

    /// The square roots of these lanes, correctly rounded; NaN for negative numbers.
    @inlinable @inline(__always)
    public var squareRoots: Self {
      var result = Self()
      result._storage._value = Builtin.int_sqrt_Vec8xFPIEEE32(_storage._value)
      return result
    }
  }
#else
  extension SIMD8<Float> {
    /// The quotients of these lanes and those of `divisor`, correctly rounded.
    @inlinable @inline(__always)
    public func divided(by divisor: Self) -> Self { self / divisor }

    /// The square roots of these lanes, correctly rounded; NaN for negative numbers.
    @inlinable @inline(__always)
    public var squareRoots: Self { squareRoot() }
  }
#endif
