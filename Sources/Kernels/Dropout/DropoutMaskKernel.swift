import Tensors

/// Writes a dropout mask, bitwise identical to ``DropoutStream/fill(_:wordCount:step:sample:)``.
///
/// - Parameters:
///   - stream: The layer's stream.
///   - words: The mask; overwritten.
///   - wordCount: The number of words.
///   - step: The training step.
///   - sample: The position of the sample in the global batch.
func fillDropoutMask(
  _ stream: DropoutStream, _ words: UnsafeMutablePointer<UInt16>, wordCount: Int, step: Int, sample: Int
) {
  let counter = stream.counter(block: 0, step: step, sample: sample)
  let size = DropoutStream.wordsPerGroup
  for first in stride(from: 0, to: wordCount, by: size) {
    // Lane 0 of a group is block 16·g, and a group has 8 words.
    let group = GroupMask(counter, key: stream.key, threshold: stream.threshold, firstBlock: 2 &* first)
    let count = min(size, wordCount &- first)
    for i in 0..<count { words[first &+ i] = group.word(i) }
  }
}

/// The mask words of one group of 16 blocks.
private struct GroupMask {
  /// The bytes of bits 0 to 7 of all words, and of bits 8 to 15.
  private let low: UInt64
  private let high: UInt64

  @inline(__always)
  init(_ counter: SIMD4<UInt32>, key: SIMD2<UInt32>, threshold: UInt32, firstBlock: Int) {
    low = Self.bytes(counter, key: key, threshold: threshold, firstBlock: firstBlock)
    high = Self.bytes(counter, key: key, threshold: threshold, firstBlock: firstBlock &+ 8)
  }

  @inline(__always)
  func word(_ i: Int) -> UInt16 {
    let shift = UInt64(8 &* i)
    return UInt16(truncatingIfNeeded: low &>> shift & 0xff | (high &>> shift & 0xff) &<< 8)
  }

  /// Returns one byte per mask word: the decisions of 8 blocks, one block per lane.
  ///
  /// Lanes have 64 bits, so that a product stays in its lane. Only the low halves of a counter's lanes are its words:
  /// multiplications and comparisons ignore the high halves.
  @inline(__always)
  private static func bytes(
    _ counter: SIMD4<UInt32>, key: SIMD2<UInt32>, threshold: UInt32, firstBlock: Int
  ) -> UInt64 {
    var a = Lanes(0, 1, 2, 3, 4, 5, 6, 7) &+ Lanes(repeating: UInt64(truncatingIfNeeded: firstBlock))
    var (b, c, d) = (Lanes(word: counter[1]), Lanes(word: counter[2]), Lanes(word: counter[3]))
    var (key0, key1) = (key[0], key[1])
    for _ in 0..<Philox4x32.roundCount {
      let (even, odd) = (a.product(Philox4x32.multipliers.0), c.product(Philox4x32.multipliers.1))
      (a, b) = (odd.highWord.xor(b).xor(Lanes(word: key0)), odd)
      (c, d) = (even.highWord.xor(d).xor(Lanes(word: key1)), even)
      key0 &+= Philox4x32.keyIncrements.0
      key1 &+= Philox4x32.keyIncrements.1
    }
    let (ab, cd) = (
      a.decisions(threshold) | b.decisions(threshold) &<< 16, c.decisions(threshold) | d.decisions(threshold) &<< 16
    )
    return ab | cd &<< 32
  }
}

/// Eight 32-bit words in the low halves of 64-bit lanes.
private typealias Lanes = SIMD8<UInt64>

extension SIMD8<UInt64> {
  @inline(__always) fileprivate init(word: UInt32) { self.init(repeating: UInt64(word)) }
}

// One machine operation each where the compiler lends its builtins, as in `Vector.swift`; bitwise identical elsewhere.
#if hasFeature(BuiltinModule)
  import Builtin

  extension SIMD8<UInt64> {
    @inline(__always) private init(_ value: Builtin.Vec8xInt64) {
      self.init()
      _storage._value = value
    }

    /// The 64-bit products of the low halves and a factor.
    @inline(__always) fileprivate func product(_ factor: UInt32) -> Self {
      let words = Builtin.and_Vec8xInt64(_storage._value, Self(repeating: 0xffff_ffff)._storage._value)
      return Self(Builtin.mul_Vec8xInt64(words, Self(word: factor)._storage._value))
    }

    /// The high halves, as words.
    @inline(__always) fileprivate var highWord: Self {
      Self(Builtin.lshr_Vec8xInt64(_storage._value, Self(repeating: 32)._storage._value))
    }

    @inline(__always) fileprivate func xor(_ other: Self) -> Self {
      Self(Builtin.xor_Vec8xInt64(_storage._value, other._storage._value))
    }

    /// Bit l: whether the low 16 bits in lane l's word are at least `threshold`; bit 8 + l: the same of the high 16.
    @inline(__always) fileprivate func decisions(_ threshold: UInt32) -> UInt64 {
      let words = Builtin.trunc_Vec8xInt64_Vec8xInt32(_storage._value)
      let limit = SIMD8<UInt32>(repeating: threshold)._storage._value
      let low = Builtin.and_Vec8xInt32(words, SIMD8<UInt32>(repeating: 0xffff)._storage._value)
      let high = Builtin.lshr_Vec8xInt32(words, SIMD8<UInt32>(repeating: 16)._storage._value)
      let lowBits = Builtin.bitcast_Vec8xInt1_Int8(Builtin.cmp_uge_Vec8xInt32(low, limit))
      let highBits = Builtin.bitcast_Vec8xInt1_Int8(Builtin.cmp_uge_Vec8xInt32(high, limit))
      return UInt64(UInt8(lowBits)) | UInt64(UInt8(highBits)) &<< 8
    }
  }

  extension UInt8 {
    @inline(__always) fileprivate init(_ value: Builtin.Int8) {
      self.init()
      _value = value
    }
  }
#else
  extension SIMD8<UInt64> {
    @inline(__always) fileprivate func product(_ factor: UInt32) -> Self {
      (self & 0xffff_ffff) &* Self(word: factor)
    }

    @inline(__always) fileprivate var highWord: Self { self &>> 32 }

    @inline(__always) fileprivate func xor(_ other: Self) -> Self { self ^ other }

    @inline(__always) fileprivate func decisions(_ threshold: UInt32) -> UInt64 {
      let (low, high) = (self & 0xffff, (self &>> 16) & 0xffff)
      let bits = SIMD8<UInt64>(1, 2, 4, 8, 16, 32, 64, 128)
      let limit = Self(word: threshold)
      let kept = bits.replacing(with: 0, where: low .< limit) | (bits &<< 8).replacing(with: 0, where: high .< limit)
      return kept.wrappedSum()
    }
  }
#endif
