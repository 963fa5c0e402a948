/// The 64-bit hash FNV-1a (Fowler, Noll and Vo; RFC 9923): the same value on every machine and in every process.
///
/// Swift's `Hasher` is seeded per process, so its values cannot be compared between ranks or repeated after a restart.
/// FNV-1a detects accidental differences; it does not resist an attacker.
public struct FNV1a: Hashable, Sendable {
  /// The hash of all values combined so far.
  public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  /// Creates the hash of no bytes.
  public init() {}

  /// Creates the hash of a string's UTF-8 bytes.
  public init(_ text: String) {
    for byte in text.utf8 { combine(UInt64(byte)) }
  }

  /// Combines one value.
  ///
  /// Standard FNV-1a combines bytes. Hashes of long buffers combine eight bytes per call: an eighth of the
  /// multiplications, but a different value.
  @inline(__always)
  public mutating func combine(_ word: UInt64) { value = (value ^ word) &* 0x100_0000_01b3 }
}
