import Support
import Testing

@Suite struct FNV1aTests {
  /// Known answers of the reference implementation (RFC 9923, Fowler, Noll and Vo's test suite).
  @Test(
    arguments: [
      ("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("b", 0xaf63_df4c_8601_f1a5),
      ("foobar", 0x8594_4171_f739_67e8),
    ] as [(String, UInt64)])
  func knownAnswers(text: String, value: UInt64) {
    #expect(FNV1a(text).value == value)
  }

  @Test func textIsHashedAsUTF8Bytes() {
    var hash = FNV1a()
    for byte: UInt64 in [0x66, 0xc3, 0xbc] { hash.combine(byte) }
    #expect(hash == FNV1a("fü"))
  }

  @Test func aWordIsOneCombination() {
    var (word, bytes) = (FNV1a(), FNV1a())
    word.combine(0x0201)
    bytes.combine(0x01)
    bytes.combine(0x02)
    #expect(word != bytes)
  }
}
