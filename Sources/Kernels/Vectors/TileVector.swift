// A transform of six by six values has 36 live vectors. AVX2 has 16 registers, and vectors of one register spill half as
// often as pairs of registers. No protocol: its conformances would be symbols that other modules share.
#if WRN_AVX512
  /// The vector of a tile's transforms: 16 channels, one register of AVX-512.
  typealias TileVector = SIMD16<Float>
#else
  /// The vector of a tile's transforms: 8 channels, one register of AVX2, two of NEON.
  typealias TileVector = SIMD8<Float>
#endif

// An address advances from vector to vector. Where addresses are sums, the compiler computes all 36 distances ahead and
// keeps them in memory: the input transform took 20 % longer.
extension TileVector {
  /// The channels that a vector has.
  @inline(__always) static var channelCount: Int { MemoryLayout<TileVector>.size / 4 }

  /// Loads the numbers at an address, which needs no alignment, and advances it by a number of floats.
  @inline(__always) init(_ address: inout UnsafePointer<Float>, step: Int) {
    self = UnsafeRawPointer(address).loadUnaligned(as: TileVector.self)
    address += step
  }

  /// Stores the numbers at an address, which needs no alignment, and advances it by a number of floats.
  @inline(__always) func store(_ address: inout UnsafeMutablePointer<Float>, step: Int) {
    UnsafeMutableRawPointer(address).storeBytes(of: self, as: TileVector.self)
    address += step
  }

  /// self + x·y, rounded once.
  @inline(__always) func addingProduct(_ x: Float, _ y: TileVector) -> TileVector {
    addingProduct(TileVector(repeating: x), y)
  }
}

// Whole-vector arithmetic of 8 lanes, for the same reasons as that of 16 lanes (``Vector``).
#if hasFeature(BuiltinModule)
  import Builtin

  extension SIMD8<Float> {
    @inline(__always) private init(_ value: Builtin.Vec8xFPIEEE32) {
      self.init()
      _storage._value = value
    }

    @inline(__always) static func + (a: Self, b: Self) -> Self {
      Self(Builtin.fadd_Vec8xFPIEEE32(a._storage._value, b._storage._value))
    }

    @inline(__always) static func - (a: Self, b: Self) -> Self {
      Self(Builtin.fsub_Vec8xFPIEEE32(a._storage._value, b._storage._value))
    }

    @inline(__always) static func * (a: Self, b: Float) -> Self {
      Self(Builtin.fmul_Vec8xFPIEEE32(a._storage._value, Self(repeating: b)._storage._value))
    }

    @inline(__always) func addingProduct(_ x: Self, _ y: Self) -> Self {
      Self(Builtin.int_fma_Vec8xFPIEEE32(x._storage._value, y._storage._value, _storage._value))
    }
  }
#endif
