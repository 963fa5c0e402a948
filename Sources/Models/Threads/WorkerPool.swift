import CHints
import Collectives
import Foundation
import Synchronization
import Tracing

/// A fixed set of threads that share the work of one rank, item by item.
///
/// The calling thread is worker 0 and takes part. Items are handed out one at a time, so a slow worker costs little; which
/// worker computes an item never changes a result, because an item's result depends on its index alone. Waiting costs a few
/// microseconds where it is short; where it is not, or where others want the core, a waiting thread gives it up, then
/// sleeps. The threads end with the pool.
public final class WorkerPool: Sendable {
  /// The number of workers, the caller included.
  public let workerCount: Int
  // What the threads hold: if they held the pool itself it would never go.
  private let crew: PoolState

  /// Starts `workerCount` − 1 threads.
  ///
  /// - Parameters:
  ///   - workerCount: The number of workers.
  ///   - communicator: Its messages are moved on by worker 0 after every item, if given.
  /// - Precondition: `workerCount` is positive.
  public init(workerCount: Int, progressing communicator: (any Communicator)? = nil) {
    precondition(workerCount > 0, "a pool needs at least one worker")
    self.workerCount = workerCount
    crew = PoolState(communicator)
    for worker in 1..<max(workerCount, 1) {
      let thread = Thread { [crew] in crew.serve(worker) }
      thread.name = "wrn-worker-\(worker)"
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  deinit { crew.dismiss() }

  /// Lets workers 1, 2, … record what they do, one span a pass; worker 0 is the caller, who knows more.
  ///
  /// - Parameter tracer: Has a track for every worker; nil: none records. No pass may be running.
  public func record(into tracer: Tracer?) { crew.tracer = tracer }

  /// Calls `body(context, item, worker)` once for every item in `0..<itemCount`, and returns when all calls have returned.
  ///
  /// The body captures nothing and gets what it needs as its context: to hand a capturing closure to other threads costs
  /// an allocation a call, and a training step makes none.
  ///
  /// - Parameters:
  ///   - itemCount: The number of items.
  ///   - context: What the body works on; stays on the caller's stack.
  ///   - label: What the pass is called in a trace; one without a name is not recorded.
  ///   - body: The work; called from several threads at once with different items, and with a worker's number,
  ///     `0..<workerCount`, that no other call has at the same time.
  public func run<Context>(
    _ itemCount: Int, with context: Context, label: TraceLabel = .unknown,
    _ body: @escaping (_ context: Context, _ item: Int, _ worker: Int) -> Void
  ) {
    guard workerCount > 1, itemCount > 1 else {
      for item in 0..<itemCount {
        body(context, item, 0)
        crew.communicator?.progress()
      }
      return
    }
    withUnsafePointer(to: context) { context in
      crew.share(
        BorrowedTask(context: context, body: body), itemCount, label, helpers: workerCount - 1)
    }
  }
}

/// Work of any type, as the workers see it.
private protocol PoolTask {
  func perform(_ item: Int, worker: Int)
}

/// Work whose context lies on the stack of a caller that waits.
///
/// Three words, so that `any PoolTask` holds it without an allocation.
private struct BorrowedTask<Context>: PoolTask {
  let context: UnsafePointer<Context>
  let body: (Context, Int, Int) -> Void

  func perform(_ item: Int, worker: Int) { body(context.pointee, item, worker) }
}

/// The threads' side of a pool: the work of the current pass, and who is still at it.
private final class PoolState: @unchecked Sendable {
  /// Used by worker 0 alone: messages belong to the thread that started MPI.
  let communicator: (any Communicator)?
  // Written by worker 0 before `generation` moves on, read by the others after they see that.
  private var work: (any PoolTask)?
  private var itemCount = 0
  private var label = TraceLabel.unknown
  var tracer: Tracer?
  private let generation = Atomic<Int>(0)
  private let nextItem = Atomic<Int>(0)
  private let busyCount = Atomic<Int>(0)
  private let isDismissed = Atomic<Bool>(false)
  private let newWork = EventCount()
  private let allDone = EventCount()

  init(_ communicator: (any Communicator)?) { self.communicator = communicator }

  /// Does some work together with all other workers; called by worker 0.
  func share(_ work: some PoolTask, _ itemCount: Int, _ label: TraceLabel, helpers: Int) {
    self.work = work
    self.label = label
    self.itemCount = itemCount
    nextItem.store(0, ordering: .relaxed)
    busyCount.store(helpers, ordering: .relaxed)
    generation.wrappingAdd(1, ordering: .sequentiallyConsistent)
    newWork.call()
    perform(work, itemCount, worker: 0)
    allDone.wait { busyCount.load(ordering: .sequentiallyConsistent) == 0 }
    self.work = nil
  }

  /// Takes part in every pass until the crew is dismissed; the life of worker 1, 2, ….
  func serve(_ worker: Int) {
    var seen = 0
    while true {
      newWork.wait { generation.load(ordering: .sequentiallyConsistent) != seen }
      seen &+= 1
      if isDismissed.load(ordering: .relaxed) { return }
      if let work {
        let tracer = label == .unknown ? nil : tracer
        let start = tracer.now()
        perform(work, itemCount, worker: worker)
        tracer.record(label, track: worker, since: start)
      }
      if busyCount.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue == 0 {
        allDone.call()
      }
    }
  }

  /// Lets all threads end; no pass may be running.
  func dismiss() {
    isDismissed.store(true, ordering: .relaxed)
    generation.wrappingAdd(1, ordering: .sequentiallyConsistent)
    newWork.call()
  }

  private func perform(_ work: some PoolTask, _ itemCount: Int, worker: Int) {
    while true {
      let item = nextItem.wrappingAdd(1, ordering: .relaxed).oldValue
      if item >= itemCount { return }
      work.perform(item, worker: worker)
      if worker == 0 { communicator?.progress() }
    }
  }
}

/// Where threads wait for something that another thread will make true.
///
/// A wait first watches the core go by, then offers it to others at every turn, then sleeps: passes over a layer are
/// mostly shorter apart than a sleeper takes to wake (5 to 20 µs on an idle machine, longer in a virtual one), and a core
/// that somebody else wants is given up at once.
final class EventCount: Sendable {
  private let condition = NSCondition()
  private let sleeperCount = Atomic<Int>(0)

  // About 2 µs of watching.
  private static let spinCount = 64
  // About 100 µs of offering the core where nobody takes it.
  private static let yieldCount = 256

  /// Returns when `isTrue` does; it is called over and over.
  ///
  /// Whoever makes it true must call ``call()`` afterwards. Both sides use sequentially consistent operations, so that
  /// either the waiter sees the change or the caller sees the sleeper.
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
  func call() {
    guard sleeperCount.load(ordering: .sequentiallyConsistent) > 0 else { return }
    condition.lock()
    condition.broadcast()
    condition.unlock()
  }
}
