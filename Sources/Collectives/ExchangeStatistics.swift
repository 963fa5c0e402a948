/// What a rank has sent so far and how long it has waited: counters that only grow.
public final class ExchangeStatistics {
  /// The bytes that left this rank as messages of groups, to any rank.
  public private(set) var sentByteCount = 0
  /// Those of them that went to ranks of other hosts.
  public private(set) var sentToOtherHostsByteCount = 0
  /// The number of these messages.
  public private(set) var sentMessageCount = 0
  /// The nanoseconds that this rank spent in ``Communicator/wait(for:)``: communication that nothing hid.
  public internal(set) var waitedNanoseconds: UInt64 = 0

  /// Starts at zero.
  public init() {}

  /// Counts a message.
  ///
  /// - Parameters:
  ///   - byteCount: Its length.
  ///   - isToOtherHost: Whether it leaves the host.
  public func countSend(byteCount: Int, isToOtherHost: Bool) {
    sentMessageCount &+= 1
    sentByteCount &+= byteCount
    if isToOtherHost { sentToOtherHostsByteCount &+= byteCount }
  }
}
