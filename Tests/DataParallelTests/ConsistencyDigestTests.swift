import DataParallel
import TestSupport
import Testing

/// Mismatched ranks are reported on every rank.
@Suite struct ConsistencyDigestTests {
  private static func messages(_ texts: [String]) throws -> [String] {
    try ThreadCommunicator.run(worldSize: texts.count) { communicator in
      var digest = ConsistencyDigest()
      digest.combine(texts[communicator.rank])
      do {
        try digest.verifyEqual("the flags", on: communicator)
        return ""
      } catch let mismatch as ConsistencyDigest.Mismatch {
        return mismatch.description
      }
    }
  }

  @Test func equalRanksPass() throws {
    #expect(try Self.messages(["a", "a", "a"]) == ["", "", ""])
    #expect(try Self.messages(["a"]) == [""])
  }

  @Test func theMismatchedRankIsReportedOnEveryRank() throws {
    let messages = try Self.messages(["a", "a", "b", "a"])
    #expect(Set(messages).count == 1)
    #expect(messages[0].hasPrefix("the flags of rank 2 of 4 differs from the other ranks'"))
  }

  /// The values come from an independent implementation.
  @Test func digestsHaveTheRecordedValues() {
    var text = ConsistencyDigest()
    text.combine("native")
    #expect(text.value == 0x87db_b0bf_8ff5_e9fe)
    var bytes = ConsistencyDigest()
    Array(0..<20 as Range<UInt8>).withUnsafeBytes { bytes.combine($0) }
    #expect(bytes.value == 0x4982_e960_54de_48ec)
    var numbers = ConsistencyDigest()
    numbers.combine(4096)
    numbers.combine(100_000)
    #expect(numbers.value == 0x3f0c_2807_e3ec_aacd)
  }

  @Test func everyCombinedByteAffectsTheDigest() {
    func digest(_ body: (inout ConsistencyDigest) -> Void) -> UInt64 {
      var digest = ConsistencyDigest()
      body(&digest)
      return digest.value
    }
    var seen = Set<UInt64>()
    let bytes = [UInt8](repeating: 0, count: 40)
    for length in 0...40 { seen.insert(bytes.prefix(length).withUnsafeBytes { b in digest { $0.combine(b) } }) }
    for position in 0..<40 {
      var changed = bytes
      changed[position] = 128
      seen.insert(changed.withUnsafeBytes { b in digest { $0.combine(b) } })
    }
    seen.insert(
      digest {
        $0.combine("ab")
        $0.combine("c")
      })
    seen.insert(
      digest {
        $0.combine("a")
        $0.combine("bc")
      })
    #expect(seen.count == 41 + 40 + 2)
  }
}
