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
  let generator = GroupGenerator(stream, stream.counter(block: 0, step: step, sample: sample))
  let size = DropoutStream.wordsPerGroup
  let groups = wordCount / size
  for g in 0..<groups { generator.write(group: g, into: words + size &* g) }
  guard wordCount > groups * size else { return }
  var rest = InlineArray<8, UInt16>(repeating: 0)
  withUnsafeMutableBytes(of: &rest) { bytes in
    guard let rest = bytes.assumingMemoryBound(to: UInt16.self).baseAddress else { return }
    generator.write(group: groups, into: rest)
    (words + size * groups).update(from: rest, count: wordCount - size * groups)
  }
}

/// The generator of mask words, one group of 16 blocks at a time.
///
/// A lane of 64 bits holds one word of a counter, so that a product stays in its lane. Only the low halves are the words:
/// multiplications and comparisons ignore the high halves.
private struct GroupGenerator {
  private let key: SIMD2<UInt32>
  private let counter: (Lanes, Lanes, Lanes)
  private let threshold: UInt32

  init(_ stream: DropoutStream, _ counter: SIMD4<UInt32>) {
    key = stream.key
    threshold = stream.threshold
    self.counter = (Lanes(word: counter[1]), Lanes(word: counter[2]), Lanes(word: counter[3]))
  }

  /// Writes the 8 mask words of a group.
  @inline(__always)
  func write(group: Int, into words: UnsafeMutablePointer<UInt16>) {
    let (low, high) = (random(firstBlock: 16 &* group), random(firstBlock: 16 &* group &+ 8))
    @inline(__always) func store(_ j: Int, _ low: SIMD8<UInt32>, _ high: SIMD8<UInt32>) {
      let numbers = SIMD16<UInt32>(lowHalf: low, highHalf: high)
      words[2 &* j] = numbers.lowHalves.lanes(atLeast: threshold)
      words[2 &* j &+ 1] = numbers.highHalves.lanes(atLeast: threshold)
    }
    store(0, low.0, high.0)
    store(1, low.1, high.1)
    store(2, low.2, high.2)
    store(3, low.3, high.3)
  }

  /// Returns the random words of 8 blocks, one block per lane.
  @inline(__always)
  private func random(firstBlock: Int) -> (SIMD8<UInt32>, SIMD8<UInt32>, SIMD8<UInt32>, SIMD8<UInt32>) {
    let blocks = Lanes(0, 1, 2, 3, 4, 5, 6, 7) &+ Lanes(repeating: UInt64(truncatingIfNeeded: firstBlock))
    var x = (blocks, counter.0, counter.1, counter.2)
    // Unrolled, so that the keys of all rounds stay in registers or memory for the whole mask: a third faster.
    round(&x, 0)
    round(&x, 1)
    round(&x, 2)
    round(&x, 3)
    round(&x, 4)
    round(&x, 5)
    round(&x, 6)
    round(&x, 7)
    round(&x, 8)
    round(&x, 9)
    return (x.0.words, x.1.words, x.2.words, x.3.words)
  }

  @inline(__always)
  private func round(_ x: inout (Lanes, Lanes, Lanes, Lanes), _ i: UInt32) {
    let (even, odd) = (x.0.product(Philox4x32.multipliers.0), x.2.product(Philox4x32.multipliers.1))
    let key0 = Lanes(word: key[0] &+ i &* Philox4x32.keyIncrements.0)
    let key1 = Lanes(word: key[1] &+ i &* Philox4x32.keyIncrements.1)
    x = (odd.highWord.xor(x.1).xor(key0), odd, even.highWord.xor(x.3).xor(key1), even)
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

    /// The high halves, moved to the low halves.
    @inline(__always) fileprivate var highWord: Self {
      Self(Builtin.lshr_Vec8xInt64(_storage._value, Self(repeating: 32)._storage._value))
    }

    @inline(__always) fileprivate func xor(_ other: Self) -> Self {
      Self(Builtin.xor_Vec8xInt64(_storage._value, other._storage._value))
    }

    /// The low halves.
    @inline(__always) fileprivate var words: SIMD8<UInt32> {
      var result = SIMD8<UInt32>()
      result._storage._value = Builtin.trunc_Vec8xInt64_Vec8xInt32(_storage._value)
      return result
    }
  }

  extension SIMD16<UInt32> {
    @inline(__always) private init(_ value: Builtin.Vec16xInt32) {
      self.init()
      _storage._value = value
    }

    @inline(__always) fileprivate var lowHalves: Self {
      Self(Builtin.and_Vec16xInt32(_storage._value, Self(repeating: 0xffff)._storage._value))
    }

    @inline(__always) fileprivate var highHalves: Self {
      Self(Builtin.lshr_Vec16xInt32(_storage._value, Self(repeating: 16)._storage._value))
    }

    /// Bit l: whether lane l is at least `limit`.
    @inline(__always) fileprivate func lanes(atLeast limit: UInt32) -> UInt16 {
      let isKept = Builtin.cmp_uge_Vec16xInt32(_storage._value, Self(repeating: limit)._storage._value)
      return UInt16(Builtin.bitcast_Vec16xInt1_Int16(isKept))
    }
  }

  extension UInt16 {
    @inline(__always) fileprivate init(_ value: Builtin.Int16) {
      self.init()
      _value = value
    }
  }
#else
  extension SIMD8<UInt64> {
    @inline(__always) fileprivate func product(_ factor: UInt32) -> Self { (self & 0xffff_ffff) &* Self(word: factor) }

    @inline(__always) fileprivate var highWord: Self { self &>> 32 }

    @inline(__always) fileprivate func xor(_ other: Self) -> Self { self ^ other }

    @inline(__always) fileprivate var words: SIMD8<UInt32> { SIMD8<UInt32>(truncatingIfNeeded: self) }
  }

  extension SIMD16<UInt32> {
    @inline(__always) fileprivate var lowHalves: Self { self & 0xffff }

    @inline(__always) fileprivate var highHalves: Self { self &>> 16 }

    @inline(__always) fileprivate func lanes(atLeast limit: UInt32) -> UInt16 {
      let bits = Self(1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000, 0x8000)
      return UInt16(bits.replacing(with: 0, where: self .< Self(repeating: limit)).wrappedSum())
    }
  }
#endif
