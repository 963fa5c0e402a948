import Digests
import Testing

/// SHA-256 against published test vectors.
@Suite struct SHA256Tests {
  /// NIST's examples for FIPS 180-4 (`SHA256.pdf`, `SHA2_Additional.pdf`) and the digest of no bytes (`SHA256ShortMsg.rsp`).
  private static let vectors: [(message: [UInt8], digest: String)] = [
    ([], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    (Array("abc".utf8), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8),
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    ([0xbd], "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b"),
    ([0xc9, 0x8c, 0x8e, 0x55], "7abc22c0ae5af26ce93dbb94433a0e0b2e119d014f8e7f65bd56c61ccccd9504"),
    (Array(repeating: 0, count: 55), "02779466cdec163811d078815c633f21901413081449002f24aa3e80f0b88ef7"),
    (Array(repeating: 0, count: 56), "d4817aa5497628e7c77e6b606107042bbba3130888c5f47a375e6179be789fbb"),
    (Array(repeating: 0, count: 64), "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"),
    (Array(repeating: 0, count: 1000), "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53"),
    (
      Array(repeating: UInt8(ascii: "a"), count: 1_000_000),
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    ),
  ]

  @Test(arguments: vectors)
  func aMessageHasThePublishedDigest(message: [UInt8], digest: String) {
    #expect(SHA256.digest(of: message).hexadecimal == digest)
  }

  /// Two blocks of 64 bytes, divided at every position.
  @Test func updatesMayDivideAMessageAnywhere() {
    let message = (0..<128).map { UInt8($0) }
    let digest = SHA256.digest(of: message)
    for position in 0...message.count {
      let hash = SHA256()
      message[..<position].withUnsafeBytes { hash.update($0) }
      hash.update(UnsafeRawBufferPointer(start: nil, count: 0))
      message[position...].withUnsafeBytes { hash.update($0) }
      #expect(hash.finalize() == digest, "divided at \(position)")
    }
  }

  @Test func twoRunningDigestsAreIndependent() {
    let (first, second) = (SHA256(), SHA256())
    [UInt8](repeating: 1, count: 100).withUnsafeBytes { first.update($0) }
    Array("abc".utf8).withUnsafeBytes { second.update($0) }
    #expect(first.finalize() == SHA256.digest(of: [UInt8](repeating: 1, count: 100)))
    #expect(second.finalize() == SHA256.digest(of: Array("abc".utf8)))
  }

  @Test func hexadecimalDigitsAreTwoPerByte() {
    #expect([0, 1, 15, 16, 255].map { UInt8($0) }.hexadecimal == "00010f10ff")
  }
}
