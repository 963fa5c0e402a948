/// The random bits of one dropout layer: the mask of a sample is a pure function of (seed, purpose, step, sample).
///
/// It has no state, so ranks, threads, microbatches and restarts cannot change a mask. The generator is ``Philox4x32``
/// with the counter (block, sample, step's low word, step's high word).
///
/// Blocks are assigned so that vectors of 16 lanes need no shuffles. 16 blocks give 128 bits of the mask, 8 words: lane l
/// of group g is block 16·g + l. The low half of its word j decides bit l of mask word 8·g + 2·j, the high half that of
/// mask word 8·g + 2·j + 1. An element is kept if its 16-bit number is at least ``threshold``: integers, so that masks
/// are the same on every CPU.
public struct DropoutStream: Sendable {
  /// The mask words that one group of 16 blocks decides.
  @inlinable public static var wordsPerGroup: Int { 8 }

  /// The key of the generator.
  public let key: SIMD2<UInt32>
  /// round(65536·p): smaller numbers drop an element.
  public let threshold: UInt32
  /// 1/(1 − p), the factor of elements that are kept.
  public let scale: Float

  /// Creates the stream of one layer.
  ///
  /// - Parameters:
  ///   - seed: The seed of the run.
  ///   - purpose: The name of the layer.
  ///   - probability: p, with which an element is dropped, in 0..<1.
  /// - Precondition: `probability` is in its range.
  public init(seed: UInt64, purpose: String, probability: Double) {
    precondition((0..<1).contains(probability), "a dropout probability must be in 0..<1")
    let bits = RandomStream(seed: seed, purpose: "dropout \(purpose)").bits(0)
    key = SIMD2(UInt32(truncatingIfNeeded: bits), UInt32(truncatingIfNeeded: bits >> 32))
    threshold = UInt32((probability * 65536).rounded())
    scale = Float(1 / (1 - probability))
  }

  /// Returns the counter of a block.
  ///
  /// - Precondition: `sample` has at most 32 bits; neither number is negative.
  public func counter(block: Int, step: Int, sample: Int) -> SIMD4<UInt32> {
    let step = UInt64(step)
    return SIMD4(
      UInt32(truncatingIfNeeded: block), UInt32(sample), UInt32(truncatingIfNeeded: step),
      UInt32(truncatingIfNeeded: step >> 32))
  }

  /// Writes the mask of one sample: the specification, which engines compute faster.
  ///
  /// - Parameters:
  ///   - words: The mask, one bit per element: bit l of word w is 1 if element 16·w + l is kept; overwritten.
  ///   - wordCount: The number of words.
  ///   - step: The training step, not negative.
  ///   - sample: The position of the sample in the global batch.
  public func fill(_ words: UnsafeMutablePointer<UInt16>, wordCount: Int, step: Int, sample: Int) {
    for first in stride(from: 0, to: wordCount, by: Self.wordsPerGroup) {
      let count = min(Self.wordsPerGroup, wordCount - first)
      for i in 0..<count { words[first + i] = 0 }
      for lane in 0..<16 {
        let counter = counter(block: 2 * first + lane, step: step, sample: sample)
        let random = Philox4x32.block(counter, key: key)
        for i in 0..<count {
          let number = i.isMultiple(of: 2) ? random[i / 2] & 0xffff : random[i / 2] >> 16
          if number >= threshold { words[first + i] |= 1 << UInt16(lane) }
        }
      }
    }
  }
}
