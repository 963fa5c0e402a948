/// The reason why a rank cannot start.
public struct StartupFailure: Error, Equatable, Sendable, CustomStringConvertible {
  /// The exit code of the process, not 0.
  public let exitCode: Int32
  /// One sentence for the user.
  public let message: String

  /// Creates a failure.
  ///
  /// - Precondition: `exitCode` is not 0.
  public init(exitCode: Int32, message: String) {
    precondition(exitCode != 0, "a failure needs an exit code other than 0")
    self.exitCode = exitCode
    self.message = message
  }

  /// The message.
  public var description: String { message }
}

/// The collective by which all ranks start or none.
///
/// Otherwise a rank that alone lacks its data would leave the others blocked in their first collective. With consensus,
/// all ranks stop with the same exit code, and rank 0 prints the reason.
public enum StartupConsensus {
  /// The maximum length of a message in bytes of UTF-8; longer messages are truncated.
  public static let maximumMessageByteCount = 1_024

  /// The failure of the lowest failing rank.
  public struct FirstFailure: Equatable, Sendable {
    /// The lowest rank that failed.
    public let rank: Int
    /// Its failure.
    public let failure: StartupFailure
  }

  /// Collective: all-gathers the failures and returns that of the lowest failing rank.
  ///
  /// - Parameters:
  ///   - failure: The reason why this rank cannot start, or `nil` if it can.
  ///   - communicator: The ranks.
  /// - Returns: The same failure on every rank, or `nil` if all can start.
  /// - Throws: ``CommunicationError`` if communication fails.
  public static func agree(
    on failure: StartupFailure?, communicator: any Communicator
  ) throws -> FirstFailure? {
    let record = encode(failure)
    let records = try communicator.allGather(record)
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
