import Tensors

/// 16 consecutive fp32 numbers: one register of AVX-512, two of AVX2, four of NEON.
///
/// All builds work on groups of 16 lanes that never mix, so every element is formed by the same operations in each.
typealias Vector = SIMD16<Float>

extension UnsafePointer<Float> {
  /// The 16 numbers at this address, which needs no alignment.
  @inline(__always) var vector: Vector { UnsafeRawPointer(self).loadUnaligned(as: Vector.self) }
}

extension UnsafeMutablePointer<Float> {
  /// The 16 numbers at this address, which needs no alignment.
  @inline(__always) var vector: Vector { UnsafeRawPointer(self).loadUnaligned(as: Vector.self) }

  /// Stores 16 numbers at this address, which needs no alignment.
  @inline(__always) func store(_ value: Vector) {
    UnsafeMutableRawPointer(self).storeBytes(of: value, as: Vector.self)
  }

  /// Stores 16 numbers at this address, or adds them to those that are there.
  @inline(__always) func store(_ value: Vector, isAdded: Bool) { store(isAdded ? vector + value : value) }
}

extension Int {
  /// This number rounded up to a multiple of 16: whole vectors, whole cache lines.
  var roundedUpToVector: Int { (self &+ 15) & ~15 }
}

// The arithmetic of vectors, one machine operation each.
//
// The standard library spells an operation on 16 lanes as 16 operations, which the optimizer must find and join again. In
// the transforms, full of pairs e + p, e − p, it joined lanes of different operations. The shuffles, a hundred per
// function, cost a tenth of a step. Where the compiler lends its builtins, operations are whole from the start. Elsewhere
// the standard library's operators give bitwise identical results.
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

    /// These lanes where `word` has ones, zero elsewhere.
    @inline(__always) func kept(by word: UInt16) -> Self {
      Self(
        Builtin.select_Vec16xInt1_Vec16xFPIEEE32(
          Builtin.bitcast_Int16_Vec16xInt1(word._value), _storage._value, Self()._storage._value))
    }
  }
#else
  extension SIMD16<Float> {
    /// These lanes where `word` has ones, zero elsewhere.
    @inline(__always) func kept(by word: UInt16) -> Self {
      let bits = SIMD16<UInt32>(
        1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000, 0x8000)
      return replacing(with: 0, where: SIMD16<UInt32>(repeating: UInt32(word)) & bits .== 0)
    }
  }
#endif

extension SIMD16<Float> {
  /// These lanes times the mask's scale where word `word` keeps them, zero elsewhere.
  @inline(__always) func dropped(by mask: DropoutMask, word: Int) -> Self {
    (self * Self(repeating: mask.scale)).kept(by: mask.words[word])
  }
}

/// The four vectors of a pixel block, see ``ChannelBlock``.
///
/// Named members, not an array: a loop over an array that is not unrolled keeps it in memory and copies it every
/// iteration.
struct VectorX4 {
  /// The distances of the four vectors from the start of a pixel block, in floats.
  struct Offsets {
    let a: Int
    let b: Int
    let c: Int
    let d: Int
  }

  var a: Vector
  var b: Vector
  var c: Vector
  var d: Vector

  /// Creates zeros.
  @inline(__always) init() { self.init(Vector(), Vector(), Vector(), Vector()) }

  @inline(__always) init(_ a: Vector, _ b: Vector, _ c: Vector, _ d: Vector) {
    (self.a, self.b, self.c, self.d) = (a, b, c, d)
  }

  /// Loads the four vectors of a pixel block.
  @inline(__always) init(_ source: UnsafePointer<Float>, _ offsets: Offsets) {
    a = (source + offsets.a).vector
    b = (source + offsets.b).vector
    c = (source + offsets.c).vector
    d = (source + offsets.d).vector
  }

  /// Stores the four vectors of a pixel block.
  @inline(__always) func store(_ target: UnsafeMutablePointer<Float>, _ offsets: Offsets) {
    (target + offsets.a).store(a)
    (target + offsets.b).store(b)
    (target + offsets.c).store(c)
    (target + offsets.d).store(d)
  }

  /// self + x·y, rounded once.
  @inline(__always) func addingProduct(_ x: VectorX4, _ y: VectorX4) -> VectorX4 {
    VectorX4(
      a.addingProduct(x.a, y.a), b.addingProduct(x.b, y.b), c.addingProduct(x.c, y.c),
      d.addingProduct(x.d, y.d))
  }

  @inline(__always) static func + (x: VectorX4, y: VectorX4) -> VectorX4 {
    VectorX4(x.a + y.a, x.b + y.b, x.c + y.c, x.d + y.d)
  }

  @inline(__always) static func - (x: VectorX4, y: VectorX4) -> VectorX4 {
    VectorX4(x.a - y.a, x.b - y.b, x.c - y.c, x.d - y.d)
  }

  /// max(0, x), and NaN for NaN, which `pointwiseMax` would hide: a run that has diverged must show it.
  @inline(__always) var relu: VectorX4 { masked(by: self) }

  /// The gradient of ReLU: zero where `argument` is at most 0, these lanes elsewhere, also where it is NaN.
  @inline(__always) func masked(by argument: VectorX4) -> VectorX4 {
    VectorX4(
      a.replacing(with: 0, where: argument.a .<= 0), b.replacing(with: 0, where: argument.b .<= 0),
      c.replacing(with: 0, where: argument.c .<= 0), d.replacing(with: 0, where: argument.d .<= 0))
  }

  /// The vectors of the pixel block at element `start` of a tensor, times the mask's scale where it keeps them.
  @inline(__always) func dropped(by mask: DropoutMask, _ start: Int, _ offsets: Offsets) -> VectorX4 {
    VectorX4(
      a.dropped(by: mask, word: (start &+ offsets.a) &>> 4), b.dropped(by: mask, word: (start &+ offsets.b) &>> 4),
      c.dropped(by: mask, word: (start &+ offsets.c) &>> 4), d.dropped(by: mask, word: (start &+ offsets.d) &>> 4))
  }
}
