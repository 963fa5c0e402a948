import Collectives

/// How many bytes of queued sends may be in flight at the same time.
///
/// A small window lets short messages pass: they wait for everything in flight. But a window that empties between two polls
/// leaves the network idle. So it grows while polls find it empty, and shrinks while they find more than half of it in
/// flight. Over 340 Mbit/s, 256 KiB are enough, polled every millisecond; a step took 13 and 28 % longer with 1 MiB (n = 2).
package struct SendWindow {
  /// The present size; a send may start while less is in flight.
  package private(set) var byteCount = Self.minimumByteCount
  private var emptyPollCount = 0

  /// The smallest window: a piece in flight, and one that follows.
  package static let minimumByteCount = 2 * SendPriority.pieceByteCount
  /// The largest window.
  package static let maximumByteCount = 32 << 20

  /// Creates the smallest window.
  package init() {}

  /// Adapts the window to what a poll has found, while the rank computes.
  ///
  /// One empty poll says little: the operating system's buffer of a connection takes in a whole window at once.
  ///
  /// - Parameters:
  ///   - startedByteCount: The bytes in flight.
  ///   - isWaiting: Whether sends are queued that have not been started.
  package mutating func update(startedByteCount: Int, isWaiting: Bool) {
    emptyPollCount = isWaiting && startedByteCount == 0 ? emptyPollCount + 1 : 0
    if emptyPollCount >= 2 {
      byteCount = min(2 * byteCount, Self.maximumByteCount)
    } else if startedByteCount > byteCount / 2 {
      byteCount = max(byteCount - byteCount / 16, Self.minimumByteCount)
    }
  }
}
