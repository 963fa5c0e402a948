// The arithmetic of vectors, one machine operation each.
//
// The standard library spells an operation on 16 lanes as 16 operations, which the optimiser must find and join again. In
// the transforms, full of pairs e + p, e − p, it joined lanes of different operations and paid with a hundred shuffles a
// function, a tenth of a step. Where the compiler lends its builtins the operations are whole from the start; elsewhere
// the standard library's serve, with the same bits.
#if hasFeature(BuiltinModule)
  import Builtin

  extension SIMD16<Float> {
    @inline(__always) private init(_ value: Builtin.Vec16xFPIEEE32) {
      self.init()
      _storage._value = value
    }

    @inline(__always) static func + (a: Self, b: Self) -> Self {
      Self(Builtin.fadd_Vec16xFPIEEE32(a._storage._value, b._storage._value))
    }

    @inline(__always) static func - (a: Self, b: Self) -> Self {
      Self(Builtin.fsub_Vec16xFPIEEE32(a._storage._value, b._storage._value))
    }

    @inline(__always) static func * (a: Self, b: Self) -> Self {
      Self(Builtin.fmul_Vec16xFPIEEE32(a._storage._value, b._storage._value))
    }

    @inline(__always) static func * (a: Self, b: Float) -> Self { a * Self(repeating: b) }

    @inline(__always) static func += (a: inout Self, b: Self) { a = a + b }

    /// self + x·y, rounded once.
    @inline(__always) func addingProduct(_ x: Self, _ y: Self) -> Self {
      Self(Builtin.int_fma_Vec16xFPIEEE32(x._storage._value, y._storage._value, _storage._value))
    }
  }
#endif
