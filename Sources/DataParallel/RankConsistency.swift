import Collectives

/// A 64-bit digest of something that must be equal on all ranks: a layout, a configuration, parameters.
///
/// FNV-1a over bytes, eight at a time for long buffers. It finds accidents, not attacks.
public struct LayoutDigest: Hashable, Sendable {
  private static let prime: UInt64 = 0x100_0000_01b3
  /// The digest so far.
  public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  /// Starts a digest of nothing.
  public init() {}

  /// Takes in a text and its length.
  public mutating func combine(_ text: String) {
    combine(UInt64(text.utf8.count))
    for byte in text.utf8 { combine(UInt64(byte)) }
  }

  /// Takes in one number.
  public mutating func combine(_ number: UInt64) { value = (value ^ number) &* Self.prime }

  /// Takes in bytes, eight at a time as little-endian numbers.
  public mutating func combine(_ bytes: UnsafeRawBufferPointer) {
    combine(UInt64(bytes.count))
    let words = bytes.count / 8
    for i in 0..<words {
      let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self))
      // The multiplication carries only upwards; the rotation lets high bits reach low ones.
      value = (value ^ word) &* Self.prime
      value = value << 29 | value >> 35
    }
    for i in words * 8..<bytes.count { combine(UInt64(bytes[i])) }
  }

  /// Compares a digest over all ranks.
  ///
  /// Every rank calls it.
  ///
  /// - Parameters:
  ///   - subject: What was digested, as it stands in a sentence: `the configuration`.
  ///   - communicator: The ranks.
  /// - Throws: ``Mismatch`` on every rank if any two differ; ``CommunicationError`` if the exchange fails.
  public func requireEqual(_ subject: String, on communicator: any Communicator) throws {
    let worldSize = communicator.worldSize
    var values = [UInt64](repeating: 0, count: worldSize)
    try withUnsafeBytes(of: value) { mine in
      try values.withUnsafeMutableBytes { all in
        try communicator.allGather(
          mine, into: all, counts: [Int](repeating: mine.count, count: worldSize))
      }
    }
    // The value that most ranks have is taken for the right one; the lowest rank decides a tie.
    let counts = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
    let usual = values.max { (counts[$0] ?? 0, 0) < (counts[$1] ?? 0, 0) } ?? value
    let odd = values.indices.filter { values[$0] != usual }
    if !odd.isEmpty {
      throw Mismatch(subject: subject, ranks: odd, worldSize: worldSize)
    }
  }

  /// Ranks that do not agree.
  public struct Mismatch: Error, CustomStringConvertible {
    /// What differs.
    public let subject: String
    /// The ranks that differ from the majority.
    public let ranks: [Int]
    /// The number of ranks.
    public let worldSize: Int

    /// One sentence: what differs, where, and how to mend it.
    public var description: String {
      let names = ranks.map(String.init).joined(separator: ", ")
      return "\(subject) of rank \(names) of \(worldSize) differs from the other ranks'; "
        + "start all ranks with the same program, flags and data."
    }
  }
}
