import Tensors
import Testing

/// Pinned masks, unrelated streams, and the fraction of elements that are kept.
@Suite struct DropoutStreamTests {
  private static func mask(
    _ stream: DropoutStream, wordCount: Int, step: Int = 0, sample: Int = 0
  ) -> [UInt16] {
    var words = [UInt16](repeating: 0xa5a5, count: wordCount + 1)
    words.withUnsafeMutableBufferPointer { words in
      words.baseAddress.map { stream.fill($0, wordCount: wordCount, step: step, sample: sample) }
    }
    #expect(words.last == 0xa5a5, "no word is written beyond the last")
    return words.dropLast()
  }

  /// The layout, once more from its description: word j of lane l decides bit l of mask words 2·j and 2·j + 1.
  @Test func masksFollowTheLayout() {
    let stream = DropoutStream(seed: 3, purpose: "a", probability: 0.4)
    let (step, sample) = (5 << 32 | 7, 11)
    let words = Self.mask(stream, wordCount: 19, step: step, sample: sample)
    for i in 0..<16 * words.count {
      let (w, l) = (i / 16, i % 16)
      let random = Philox4x32.block(SIMD4(UInt32(w / 8 * 16 + l), 11, 7, 5), key: stream.key)
      let number = random[w % 8 / 2] >> (w.isMultiple(of: 2) ? 0 : 16) & 0xffff
      #expect((words[w] >> UInt16(l) & 1 == 1) == (number >= 26214), "0.4 · 65536 = 26214.4")
    }
  }

  /// If one changes, earlier runs can no longer be reproduced.
  @Test func masksArePinned() {
    let stream = DropoutStream(seed: 0, purpose: "groups.0.blocks.0.conv2", probability: 0.3)
    #expect(stream.key == SIMD2(0xd1a5_9169, 0x5d7d_6b4b))
    #expect(Self.mask(stream, wordCount: 4, step: 1, sample: 2) == [0xed5f, 0xe82b, 0xf52f, 0xefe9])
  }

  @Test func everyArgumentSelectsTheStream() {
    func stream(_ seed: UInt64, _ purpose: String) -> DropoutStream {
      DropoutStream(seed: seed, purpose: purpose, probability: 0.5)
    }
    let masks = [
      Self.mask(stream(0, "a"), wordCount: 64), Self.mask(stream(1, "a"), wordCount: 64),
      Self.mask(stream(0, "b"), wordCount: 64), Self.mask(stream(0, "a"), wordCount: 64, step: 1),
      Self.mask(stream(0, "a"), wordCount: 64, sample: 1), Self.mask(stream(0, "a"), wordCount: 64, step: 1 << 32),
    ]
    for (i, mask) in masks.enumerated() {
      for other in masks[..<i] {
        // Of 1,024 fair bits, 512 agree; the standard deviation is 16.
        let agreement = zip(mask, other).reduce(0) { $0 + 16 - ($1.0 ^ $1.1).nonzeroBitCount }
        #expect(abs(agreement - 512) < 5 * 16, "mask \(i)")
      }
    }
    #expect(Self.mask(stream(0, "a"), wordCount: 24) == Array(masks[0].prefix(24)), "lengths share their beginning")
  }

  @Test(arguments: [0.0, 0.1, 0.3, 0.5, 0.9, 0.999])
  func theFractionThatIsKeptIsRight(probability: Double) {
    let stream = DropoutStream(seed: 9, purpose: "fraction", probability: probability)
    let count = 1 << 16
    let words = Self.mask(stream, wordCount: count)
    let deviation = (probability * (1 - probability) * Double(count)).squareRoot()
    // Every bit of a word by itself, then all together; the seed is fixed.
    var total = 0
    for l in 0..<16 {
      let kept = words.reduce(0) { $0 + Int($1 >> UInt16(l) & 1) }
      #expect(abs(Double(kept) - (1 - probability) * Double(count)) <= 4 * deviation, "bit \(l)")
      total += kept
    }
    #expect(abs(Double(total) - (1 - probability) * Double(16 * count)) <= 4 * 4 * deviation)
    #expect(stream.scale == Float(1 / (1 - probability)))
  }

  @Test func probabilityZeroKeepsAll() {
    let stream = DropoutStream(seed: 2, purpose: "none", probability: 0)
    #expect(Self.mask(stream, wordCount: 1000).allSatisfy { $0 == 0xffff })
    #expect(stream.scale == 1)
  }
}
