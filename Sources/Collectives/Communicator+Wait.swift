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
  public func wait(for group: any MessageGroup) throws { try wait { try group.test() } }

  /// Returns when a condition holds that messages bring about.
  ///
  /// The time is counted in ``ExchangeStatistics/waitedNanoseconds``. The core is offered to other processes while
  /// nothing arrives; where ranks share cores the waiting one sleeps, since the one it waits for may need this core.
  ///
  /// - Parameter condition: Tests the groups that matter and tells whether to go on.
  /// - Throws: What `condition` throws.
  public func wait(until condition: () throws -> Bool) throws {
    let began = monotonicNanoseconds()
    var attempts = 0
    while try !condition() {
      attempts &+= 1
      if sharesCores && attempts > Self.attemptsBeforeSleep {
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
