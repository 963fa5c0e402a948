import Foundation
import Models
import Support
import Synchronization

/// The cost of a parallel loop of a ``WorkerPool``, apart from its items.
public struct DispatchTiming: Sendable {
  /// Seconds of a loop in which every worker computes one item, and each item waits until all have started.
  ///
  /// It includes the start of the other workers, which spin or yield, and the caller's wait for the last of them.
  public let dispatch: Double
  /// Seconds per item of a loop of many empty items: all workers claim at the same time.
  public let claim: Double

  private static let repetitions = 15
  private static let loopCount = 200
  private static let itemCount = 20_000

  /// Measures for about 50 ms and takes medians.
  ///
  /// - Parameter pool: Its workers are measured. With one worker, a loop is not dispatched.
  public init(_ pool: WorkerPool) {
    let meeting = Meeting(workerCount: pool.workerCount)
    let loops = (0..<Self.repetitions).map { _ in
      MachineRoofline.seconds {
        for _ in 0..<Self.loopCount {
          meeting.reset()
          pool.parallelFor(pool.workerCount, with: meeting) { meeting, _, _ in meeting.wait() }
        }
      }
    }
    let items = (0..<Self.repetitions).map { _ in
      MachineRoofline.seconds { pool.parallelFor(Self.itemCount, with: ()) { _, _, _ in } }
    }
    dispatch = loops.median / Double(Self.loopCount)
    claim = items.median / Double(Self.itemCount)
  }
}

/// Where the items of a loop wait for each other, so that every worker computes one.
private final class Meeting: Sendable {
  private let workerCount: Int
  private let arrivedCount = Atomic<Int>(0)

  init(workerCount: Int) { self.workerCount = workerCount }

  func reset() { arrivedCount.store(0, ordering: .relaxed) }

  func wait() {
    arrivedCount.wrappingAdd(1, ordering: .acquiringAndReleasing)
    var spins = 0
    while arrivedCount.load(ordering: .acquiring) < workerCount {
      spins += 1
      // More workers than cores must yield to each other.
      if spins.isMultiple(of: 64) { sched_yield() }
    }
  }
}
