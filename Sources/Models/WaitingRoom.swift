import CHints
import Foundation
import Synchronization

/// Where threads wait for something that another thread will make true.
///
/// A wait first watches the core go by, then offers it to others at every turn, then sleeps: passes over a layer are
/// mostly shorter apart than a sleeper takes to wake (5 to 20 µs on an idle machine, longer in a virtual one), and a core
/// that somebody else wants is given up at once.
final class WaitingRoom: Sendable {
  private let condition = NSCondition()
  private let sleeperCount = Atomic<Int>(0)

  // About 2 µs of watching.
  private static let watchTurns = 64
  // About 100 µs of offering the core where nobody takes it.
  private static let offerTurns = 256

  /// Returns when `isTrue` does; it is called over and over.
  ///
  /// Whoever makes it true must call ``call()`` afterwards. Both sides use sequentially consistent operations, so that
  /// either the waiter sees the change or the caller sees the sleeper.
  func wait(until isTrue: () -> Bool) {
    for _ in 0..<Self.watchTurns {
      if isTrue() { return }
      CHints_pause()
    }
    for _ in 0..<Self.offerTurns {
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
  func call() {
    guard sleeperCount.load(ordering: .sequentiallyConsistent) > 0 else { return }
    condition.lock()
    condition.broadcast()
    condition.unlock()
  }
}
