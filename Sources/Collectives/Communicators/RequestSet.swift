/// A handful of messages that are on their way at once, and a way to ask whether all of them are through.
///
/// The slots for the messages are allocated with the group, which is filled, waited for and filled again in every step:
/// messages themselves allocate nothing. Between two ranks, messages of one tag arrive in the order in which they were
/// sent. The bytes of a message must stay as they are (sent) or untouched (received) until the group is complete.
/// ``Communicator/wait(for:)`` waits for a group.
public protocol RequestSet: AnyObject {
  /// Starts to send bytes to another rank (`MPI_Isend`).
  ///
  /// - Parameters:
  ///   - bytes: What to send, at most 2^31 − 1 bytes.
  ///   - rank: Another rank, which starts a receive of as many bytes with the same tag.
  ///   - tag: Tells messages between the same two ranks apart, not negative.
  /// - Throws: ``CommunicationError`` if it cannot be started.
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) throws

  /// Starts to receive bytes from another rank (`MPI_Irecv`).
  ///
  /// - Parameters:
  ///   - bytes: Where they go; as many as the sender sends.
  ///   - rank: Another rank.
  ///   - tag: What the sender says.
  /// - Throws: ``CommunicationError`` if it cannot be started.
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) throws

  /// Moves messages on and tells whether all of this group are through (`MPI_Testall`), without waiting.
  ///
  /// - Returns: True if none is left; the group can be filled again.
  /// - Throws: ``CommunicationError`` if one has failed.
  func test() throws -> Bool
}

extension RequestSet {
  /// Starts to send elements to another rank; nothing at all if there are none.
  ///
  /// - Throws: ``CommunicationError`` if it cannot be started.
  public func send<Element: BitwiseCopyable>(
    _ elements: UnsafePointer<Element>, count: Int, to rank: Int, tag: Int
  ) throws {
    guard count > 0 else { return }
    try send(
      UnsafeRawBufferPointer(start: elements, count: count * MemoryLayout<Element>.stride), to: rank,
      tag: tag)
  }

  /// Starts to receive elements from another rank; nothing at all if there are none.
  ///
  /// - Throws: ``CommunicationError`` if it cannot be started.
  public func receive<Element: BitwiseCopyable>(
    into elements: UnsafeMutablePointer<Element>, count: Int, from rank: Int, tag: Int
  ) throws {
    guard count > 0 else { return }
    try receive(
      into: UnsafeMutableRawBufferPointer(
        start: elements, count: count * MemoryLayout<Element>.stride), from: rank, tag: tag)
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Communicator {
  /// Returns when all messages of a group are through.
  ///
  /// - Parameter group: A group of this communicator.
  /// - Throws: ``CommunicationError`` if a message has failed.
  public func wait(for group: any RequestSet) throws { try wait { try group.test() } }

  /// Returns when a condition holds that messages bring about.
  ///
  /// The time is counted in ``CommunicationStatistics/waitedNanoseconds``. The core is offered to other processes while
  /// nothing arrives; where ranks share cores the waiting one sleeps, since the one it waits for may need this core.
  ///
  /// - Parameter condition: Tests the groups that matter and tells whether to go on.
  /// - Throws: What `condition` throws.
  public func wait(until condition: () throws -> Bool) throws {
    let began = monotonicNanoseconds()
    var attempts = 0
    while try !condition() {
      attempts &+= 1
      if isOversubscribed && attempts > Self.attemptsBeforeSleep {
        usleep(Self.sleepMicroseconds)
      } else {
        sched_yield()
      }
    }
    statistics.waitedNanoseconds &+= monotonicNanoseconds() &- began
  }

  // A message between two running ranks takes a few microseconds, so an answer that is on its way is met by testing.
  private static var attemptsBeforeSleep: Int { 40 }
  private static var sleepMicroseconds: UInt32 { 20 }
}

/// Nanoseconds since some moment in the past, by a clock that nobody sets.
public func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}
