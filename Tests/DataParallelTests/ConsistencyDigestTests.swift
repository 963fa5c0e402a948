import DataParallel
import TestSupport
import Testing

/// Ranks that do not agree are found and named on every rank.
@Suite struct ConsistencyDigestTests {
  private static func names(_ texts: [String]) throws -> [String] {
    try ThreadCommunicator.run(worldSize: texts.count) { communicator in
      var digest = ConsistencyDigest()
      digest.combine(texts[communicator.rank])
      do {
        try digest.requireEqual("the flags", on: communicator)
        return ""
      } catch let mismatch as ConsistencyDigest.Mismatch {
        return mismatch.description
      }
    }
  }

  @Test func equalRanksPass() throws {
    #expect(try Self.names(["a", "a", "a"]) == ["", "", ""])
    #expect(try Self.names(["a"]) == [""])
  }

  @Test func theOddRankIsNamedEverywhere() throws {
    let found = try Self.names(["a", "a", "b", "a"])
    #expect(Set(found).count == 1)
    #expect(found[0].hasPrefix("the flags of rank 2 of 4 differs from the other ranks'"))
  }

  @Test func everythingTakenInMatters() {
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
