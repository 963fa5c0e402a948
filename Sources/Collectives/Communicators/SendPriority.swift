import Support

/// Which messages to other hosts go first when ranks send more than the network takes.
///
/// A network passes on messages in the order in which they were started. So a short message that a rank waits for would
/// wait for all megabytes that were started before. Large messages are therefore queued by this program: they are sent
/// in pieces of ``pieceByteCount``, few at a time, those of the highest priority first.
///
/// A receive is never queued. A rank starts the receives of a reduction stage without waiting for what it sends itself. So a
/// queued send waits for no other queued send, and ranks whose queues have different orders cannot block each other.
public enum SendPriority: Sendable {
  /// Started at once, in one piece.
  case immediate
  /// Queued. Every rank waits for partial sums at the end of the backward pass.
  case partialSum
  /// Queued after all partial sums. A result may arrive as late as the next forward pass reaches its layer.
  case result

  /// The maximum length of a queued message, in bytes.
  public static let pieceByteCount = 128 << 10

  /// Returns the number of pieces of a message.
  ///
  /// - Parameter byteCount: The length of the message, in bytes.
  /// - Returns: The number of queued sends, at least 1.
  public static func pieceCount(_ byteCount: Int) -> Int {
    max(1, byteCount.dividedRoundingUp(by: pieceByteCount))
  }
}
