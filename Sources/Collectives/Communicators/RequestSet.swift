import Support

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A fixed number of slots for nonblocking sends and receives that complete together.
///
/// The slots are allocated once and reused in every step, so starting a request allocates nothing. Messages between two
/// ranks with equal tags arrive in the order in which they were sent. Until the set is complete, the caller must not
/// change the bytes that it sends, nor touch the bytes that it receives. ``Communicator/wait(for:)`` waits for a set.
public protocol RequestSet: AnyObject {
  /// Starts to send bytes to another rank (`MPI_Isend`), or queues them if their priority lets others go first.
  ///
  /// - Parameters:
  ///   - bytes: The bytes to send, at most 2^31 − 1.
  ///   - rank: Another rank, which starts to receive as many bytes with the same tag and priority.
  ///   - tag: A nonnegative number that matches sends to receives.
  ///   - priority: Which messages go first.
  /// - Throws: ``CommunicationError`` if the send cannot be started.
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int, priority: SendPriority) throws

  /// Starts to receive bytes from another rank (`MPI_Irecv`).
  ///
  /// - Parameters:
  ///   - bytes: Memory for exactly as many bytes as the sender sends.
  ///   - rank: Another rank.
  ///   - tag: The sender's tag.
  ///   - priority: The sender's priority.
  /// - Throws: ``CommunicationError`` if the receive cannot be started.
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int, priority: SendPriority) throws

  /// Polls for progress and returns whether all requests of this set are complete (`MPI_Testsome`); does not wait.
  ///
  /// - Returns: True if no request is pending; the set can then be used again.
  /// - Throws: ``CommunicationError`` if a request has failed.
  func test() throws -> Bool
}

extension RequestSet {
  /// Starts to send elements to another rank; does nothing if `count` is 0.
  ///
  /// - Throws: ``CommunicationError`` if the send cannot be started.
  public func send<Element: BitwiseCopyable>(
    _ elements: UnsafePointer<Element>, count: Int, to rank: Int, tag: Int, priority: SendPriority = .immediate
  ) throws {
    guard count > 0 else { return }
    try send(
      UnsafeRawBufferPointer(start: elements, count: count * MemoryLayout<Element>.stride), to: rank,
      tag: tag, priority: priority)
  }

  /// Starts to receive elements from another rank; does nothing if `count` is 0.
  ///
  /// - Throws: ``CommunicationError`` if the receive cannot be started.
  public func receive<Element: BitwiseCopyable>(
    into elements: UnsafeMutablePointer<Element>, count: Int, from rank: Int, tag: Int,
    priority: SendPriority = .immediate
  ) throws {
    guard count > 0 else { return }
    try receive(
      into: UnsafeMutableRawBufferPointer(
        start: elements, count: count * MemoryLayout<Element>.stride), from: rank, tag: tag, priority: priority)
  }
}

extension Communicator {
  /// Blocks until all requests of a set are complete.
  ///
  /// - Parameter requests: A request set of this communicator.
  /// - Throws: ``CommunicationError`` if a request has failed.
  public func wait(for requests: any RequestSet) throws { try wait { try requests.test() } }

  /// Blocks until a condition holds that messages fulfil.
  ///
  /// The time is added to ``CommunicationStatistics/waitedNanoseconds``. Between tests the rank yields its core. On an
  /// oversubscribed host it sleeps after some tests, since the sender may need this core.
  ///
  /// - Parameter condition: Tests the request sets involved and returns whether to stop waiting.
  /// - Throws: Errors of `condition`.
  public func wait(until condition: () throws -> Bool) throws {
    let start = MonotonicClock.now()
    try statistics.activity.waiting(since: start) {
      var attempts = 0
      while try !condition() {
        attempts &+= 1
        if isOversubscribed && attempts > Self.attemptsBeforeSleep {
          usleep(Self.sleepMicroseconds)
        } else {
          sched_yield()
        }
      }
    }
    statistics.waitedNanoseconds &+= MonotonicClock.now() &- start
  }

  // A message between two running ranks takes a few microseconds, so polling catches a message that is already in flight.
  private static var attemptsBeforeSleep: Int { 40 }
  private static var sleepMicroseconds: UInt32 { 20 }
}
