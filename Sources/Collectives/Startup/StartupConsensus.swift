/// Why a rank cannot start.
public struct StartupFailure: Error, Equatable, Sendable, CustomStringConvertible {
  /// What the process should exit with, not 0.
  public let exitCode: Int32
  /// One sentence for the user.
  public let message: String

  /// Makes a failure.
  ///
  /// - Precondition: `exitCode` is not 0.
  public init(exitCode: Int32, message: String) {
    precondition(exitCode != 0, "a failure needs an exit code other than 0")
    self.exitCode = exitCode
    self.message = message
  }

  /// The sentence.
  public var description: String { message }
}

/// Lets all ranks find out together whether every one of them could start.
///
/// Without it a rank that alone lacks its data would leave the others waiting in the first
/// exchange. With it all of them stop with the same exit code, and rank 0 alone prints why.
public enum StartupConsensus {
  /// The longest message that travels, in bytes of UTF-8; longer ones are cut.
  public static let maximumMessageByteCount = 1_024

  /// The failure that all ranks agreed on.
  public struct FirstFailure: Equatable, Sendable {
    /// The lowest rank that failed.
    public let rank: Int
    /// Its failure.
    public let failure: StartupFailure
  }

  /// Tells all ranks about each other's failures; all get the lowest failing rank's.
  ///
  /// Collective: every rank calls it at the same point of its start, the healthy ones with nil.
  ///
  /// - Parameters:
  ///   - failure: Why this rank cannot start, or nil.
  ///   - communicator: The ranks.
  /// - Returns: The same verdict on every rank; nil if all can start.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public static func agree(
    on failure: StartupFailure?, communicator: any Communicator
  ) throws -> FirstFailure? {
    let record = encode(failure)
    let counts = [Int](repeating: record.count, count: communicator.worldSize)
    var records = [UInt8](repeating: 0, count: record.count * communicator.worldSize)
    try record.withUnsafeBytes { send in
      try records.withUnsafeMutableBytes { receive in
        try communicator.allGather(send, into: receive, counts: counts)
      }
    }
    for rank in 0..<communicator.worldSize {
      let bytes = records[rank * record.count..<(rank + 1) * record.count]
      if let failure = decode(Array(bytes)) { return FirstFailure(rank: rank, failure: failure) }
    }
    return nil
  }

  /// A record of constant size: exit code and length, 4 bytes each, then the message.
  private static func encode(_ failure: StartupFailure?) -> [UInt8] {
    var record = [UInt8](repeating: 0, count: 8 + maximumMessageByteCount)
    guard let failure else { return record }
    var text = failure.message
    while text.utf8.count > maximumMessageByteCount { text.removeLast() }
    put(UInt32(bitPattern: failure.exitCode), into: &record, at: 0)
    put(UInt32(text.utf8.count), into: &record, at: 4)
    record.replaceSubrange(8..<8 + text.utf8.count, with: text.utf8)
    return record
  }

  private static func decode(_ record: [UInt8]) -> StartupFailure? {
    let exitCode = Int32(bitPattern: number(in: record, at: 0))
    guard exitCode != 0 else { return nil }
    let length = min(Int(number(in: record, at: 4)), maximumMessageByteCount)
    return StartupFailure(
      exitCode: exitCode, message: String(decoding: record[8..<8 + length], as: UTF8.self))
  }

  private static func put(_ number: UInt32, into record: inout [UInt8], at offset: Int) {
    for byte in 0..<4 { record[offset + byte] = UInt8(truncatingIfNeeded: number >> (8 * byte)) }
  }

  private static func number(in record: [UInt8], at offset: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(record[offset + $1]) << (8 * $1) }
  }
}
