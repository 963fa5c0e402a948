import Models
import Tensors
import TestSupport
import Testing

/// Every engine writes the dropout masks that ``DropoutStream`` specifies, bit by bit, and nothing beyond them.
@Suite struct DropoutMaskTests {
  @Test(arguments: TestedEngine.all, [0.0, 0.3, 0.5, 0.99999])
  func theBitsAreThoseOfTheSpecification(engine: TestedEngine, probability: Double) {
    let stream = DropoutStream(seed: 4, purpose: "layer", probability: probability)
    for wordCount in Array(0...25) + [800, 4097] {
      for (step, sample) in [(0, 0), (3, 127), (1 << 33 | 5, 0xffff_ffff)] {
        let expected = GuardedBuffer([UInt16](repeating: 0x1234, count: wordCount))
        let found = GuardedBuffer([UInt16](repeating: 0x4321, count: wordCount))
        stream.fill(expected.pointer, wordCount: wordCount, step: step, sample: sample)
        engine.engine.fillDropoutMask(stream, found.pointer, wordCount: wordCount, step: step, sample: sample)
        #expect(found.elements == expected.elements, "\(wordCount) words, step \(step)")
        #expect(found.isIntact && expected.isIntact)
      }
    }
  }
}
