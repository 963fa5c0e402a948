import Foundation
import Models
import Support
import Synchronization
import Tensors
import Testing

/// Every item is done once, by a worker that does nothing else at the time.
@Suite struct WorkerPoolTests {
  @Test(arguments: [1, 2, 3, 8])
  func everyItemOnce(workerCount: Int) throws {
    let pool = try WorkerPool(workerCount: workerCount)
    for itemCount in [0, 1, 2, 7, 1000] {
      let counts = AlignedBuffer<Int>(count: itemCount)
      let busy = AlignedBuffer<Int>(count: workerCount)
      let overlaps = NSLock()
      pool.parallelFor(itemCount, with: (counts, busy, overlaps)) { context, item, worker in
        let (counts, busy, lock) = context.pointee
        lock.withLock { busy.pointer[worker] += 1 }
        counts.pointer[item] += lock.withLock { busy.pointer[worker] }
        lock.withLock { busy.pointer[worker] -= 1 }
      }
      #expect(counts.elements.allSatisfy { $0 == 1 }, "\(itemCount) items, \(workerCount) workers")
    }
  }

  @Test func loopsFollowOneAnother() throws {
    let pool = try WorkerPool(workerCount: 4)
    let values = AlignedBuffer<Int>(count: 64)
    for loop in 0..<2000 {
      pool.parallelFor(64, with: (values, loop)) { context, item, _ in
        if context.pointee.0.pointer[item] == context.pointee.1 { context.pointee.0.pointer[item] += 1 }
      }
    }
    #expect(values.elements.allSatisfy { $0 == 2000 }, "a loop began before the last one had ended")
  }

  @Test func aPoolThatIsReleasedEndsItsThreads() throws {
    for _ in 0..<200 { _ = try WorkerPool(workerCount: 5) }
    // Other tests run threads of their own at the same time, though not hundreds.
    for _ in 0..<500 where threadCount() > 400 { usleep(10_000) }
    #expect(threadCount() <= 400, "of 800 that were started")
  }

  @Test func aThreadThatCannotStartIsReported() {
    #expect(throws: SystemThread.StartError.self) {
      // No machine has a pebibyte for a stack.
      try WorkerPool(workerCount: 3, stackSize: 1 << 50)
    }
  }

  /// A loop ends with its items, not with its workers: here a signal handler keeps worker 1 away from them.
  @Test(.timeLimit(.minutes(5)))
  func aLoopDoesNotWaitForAWorkerWithoutItems() throws {
    let pool = try WorkerPool(workerCount: 2)
    let threads = AlignedBuffer<pthread_t>(count: 2)
    while threads.pointer[1] == 0 {
      pool.parallelFor(2, with: threads) { threads, _, worker in
        // Threads of a dispatch queue, on which tests run, block signals, and new threads inherit that.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR2)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        threads.pointee.pointer[worker] = pthread_self()
        usleep(1000)
      }
    }
    // Creates the variable outside of the handler.
    HeldWorker.state.store(0, ordering: .sequentiallyConsistent)
    signal(SIGUSR2) { _ in
      // The thread may be between a system call and its look at errno, which usleep sets.
      let code = errno
      HeldWorker.state.store(HeldWorker.held, ordering: .sequentiallyConsistent)
      while HeldWorker.state.load(ordering: .sequentiallyConsistent) != HeldWorker.released { usleep(1000) }
      errno = code
    }
    pthread_kill(threads.pointer[1], SIGUSR2)
    while HeldWorker.state.load(ordering: .sequentiallyConsistent) != HeldWorker.held { usleep(1000) }
    let workers = AlignedBuffer<Int>(count: 8)
    pool.parallelFor(8, with: workers) { workers, item, worker in
      workers.pointee.pointer[item] = 10 + worker
    }
    #expect(workers.elements.allSatisfy { $0 == 10 }, "worker 0 computed every item")
    HeldWorker.state.store(HeldWorker.released, ordering: .sequentiallyConsistent)
  }

  /// Flush-to-zero is inherited by new threads; a library that was linked with -ffast-math sets it.
  @Test func workersRoundToNearestAndKeepSubnormals() throws {
    var environment = fenv_t()
    fegetenv(&environment)
    #if arch(x86_64)
      environment.__mxcsr |= 0x8040
    #else
      environment.__fpcr |= 1 << 24
    #endif
    fesetenv(&environment)
    #expect(!FloatingPointEnvironment.isDefault, "the test itself could not set flush-to-zero")
    let pool = try WorkerPool(workerCount: 4)
    let isDefault = AlignedBuffer<Bool>(count: 64)
    pool.parallelFor(64, with: isDefault) { isDefault, item, _ in
      isDefault.pointee.pointer[item] = FloatingPointEnvironment.isDefault
      usleep(100)
    }
    #expect(isDefault.elements.allSatisfy { $0 })
    fesetround(FE_UPWARD)
    #expect(!FloatingPointEnvironment.isDefault)
    FloatingPointEnvironment.setDefault()
    #expect(FloatingPointEnvironment.isDefault)
  }

  private func threadCount() -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count) ?? 0
  }
}

/// What a signal handler and a test tell each other.
private enum HeldWorker {
  static let held: Int32 = 1
  static let released: Int32 = 2
  static let state = Atomic<Int32>(0)
}
