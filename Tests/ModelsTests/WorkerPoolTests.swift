import Foundation
import Models
import Tensors
import Testing

/// Every item is done once, by a worker that does nothing else at the time.
@Suite struct WorkerPoolTests {
  @Test(arguments: [1, 2, 3, 8])
  func everyItemOnce(workerCount: Int) {
    let pool = WorkerPool(workerCount: workerCount)
    for itemCount in [0, 1, 2, 7, 1000] {
      let counts = AlignedBuffer<Int>(count: itemCount)
      let busy = AlignedBuffer<Int>(count: workerCount)
      let overlaps = NSLock()
      pool.parallelFor(itemCount, with: (counts, busy, overlaps)) { context, item, worker in
        let (counts, busy, lock) = context
        lock.withLock { busy.pointer[worker] += 1 }
        counts.pointer[item] += lock.withLock { busy.pointer[worker] }
        lock.withLock { busy.pointer[worker] -= 1 }
      }
      #expect(counts.elements.allSatisfy { $0 == 1 }, "\(itemCount) items, \(workerCount) workers")
    }
  }

  @Test func passesFollowOneAnother() {
    let pool = WorkerPool(workerCount: 4)
    let values = AlignedBuffer<Int>(count: 64)
    for pass in 0..<2000 {
      pool.parallelFor(64, with: (values, pass)) { context, item, _ in
        if context.0.pointer[item] == context.1 { context.0.pointer[item] += 1 }
      }
    }
    #expect(values.elements.allSatisfy { $0 == 2000 }, "a pass began before the last one had ended")
  }

  @Test func aPoolThatIsDroppedEndsItsThreads() {
    for _ in 0..<200 { _ = WorkerPool(workerCount: 5) }
    // Other tests run threads of their own at the same time, though not hundreds.
    for _ in 0..<500 where threadCount() > 400 { usleep(10_000) }
    #expect(threadCount() <= 400, "of 800 that were started")
  }

  private func threadCount() -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count) ?? 0
  }
}
