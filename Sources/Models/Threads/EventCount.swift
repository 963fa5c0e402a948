import CHints
import Foundation
import Synchronization

/// Lets threads wait for a condition that another thread will make true (Eigen's and folly's `EventCount`).
///
/// A waiting thread first spins, then yields its core, then sleeps. The layers' loops are mostly closer together than a
/// sleeper takes to wake: 5 to 20 µs on an idle machine, longer in a virtual one. A core that another thread wants is
/// yielded at once.
final class EventCount: Sendable {
  private let condition = NSCondition()
  private let sleeperCount = Atomic<Int>(0)

  // About 2 µs of spinning.
  private static let spinCount = 64
  // About 100 µs of yielding where no other thread takes the core.
  private static let yieldCount = 256

  /// Returns once `isTrue` returns true; it is called repeatedly.
  ///
  /// The thread that makes it true must call ``notifyAll()`` afterwards. Both sides use sequentially consistent
  /// operations, so either the waiter sees the change or the notifier sees the sleeper.
  func wait(until isTrue: () -> Bool) {
    for _ in 0..<Self.spinCount {
      if isTrue() { return }
      CHints_pause()
    }
    for _ in 0..<Self.yieldCount {
      if isTrue() { return }
      sched_yield()
    }
    condition.lock()
    sleeperCount.wrappingAdd(1, ordering: .sequentiallyConsistent)
    while !isTrue() { condition.wait() }
    sleeperCount.wrappingSubtract(1, ordering: .relaxed)
    condition.unlock()
  }

  /// Wakes all sleepers, if there are any.
  func notifyAll() {
    guard sleeperCount.load(ordering: .sequentiallyConsistent) > 0 else { return }
    condition.lock()
    condition.broadcast()
    condition.unlock()
  }
}
