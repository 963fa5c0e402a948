import Models
import Support

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
    let start = StartLine(workerCount: pool.workerCount)
    let loops = (0..<Self.repetitions).map { _ in
      MachineRoofline.seconds {
        for _ in 0..<Self.loopCount {
          start.reset()
          pool.parallelFor(pool.workerCount, with: start) { start, _, _ in start.pointee.wait() }
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
