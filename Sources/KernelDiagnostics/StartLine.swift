import Foundation
import Synchronization

/// Where the workers of a parallel loop wait until all of them have arrived, so that each computes one item.
final class StartLine: Sendable {
  private let workerCount: Int
  private let missingCount: Atomic<Int>

  init(workerCount: Int) {
    self.workerCount = workerCount
    missingCount = Atomic(workerCount)
  }

  /// Prepares for the next loop; no worker may be waiting.
  func reset() { missingCount.store(workerCount, ordering: .relaxed) }

  /// Waits for the other workers.
  func wait() {
    missingCount.wrappingSubtract(1, ordering: .acquiringAndReleasing)
    var spins = 0
    while missingCount.load(ordering: .acquiring) > 0 {
      spins += 1
      // Workers that outnumber the cores need them.
      if spins.isMultiple(of: 64) { sched_yield() }
    }
  }
}
