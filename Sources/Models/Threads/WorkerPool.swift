import Collectives
import Support
import Synchronization
import Tracing

/// A fixed set of threads that share the work of one rank, item by item.
///
/// The calling thread is worker 0 and takes part. Workers claim items one at a time, so a slow worker costs little. Which
/// worker computes an item never changes a result, because an item's result depends on its index alone. The threads end
/// with the pool.
public final class WorkerPool: Sendable {
  /// The number of workers, the caller included.
  public let workerCount: Int
  // The threads hold the state, not the pool: a pool that they held would never be released.
  private let state: PoolState

  /// Starts `workerCount` − 1 threads, and puts the caller's thread into the default floating-point environment as well.
  ///
  /// - Parameters:
  ///   - workerCount: The number of workers.
  ///   - communicator: If given, worker 0 polls it for progress after every item.
  ///   - stackSize: Bytes of stack per thread.
  /// - Throws: `SystemThread.StartError` if a thread cannot be started; those that were started end.
  /// - Precondition: `workerCount` is positive.
  public init(
    workerCount: Int, progressing communicator: (any Communicator)? = nil, stackSize: Int = 8 << 20
  ) throws {
    precondition(workerCount > 0, "a pool needs at least one worker")
    self.workerCount = workerCount
    let state = PoolState(communicator)
    self.state = state
    FloatingPointEnvironment.setDefault()
    do {
      for worker in 1..<workerCount {
        try SystemThread.start("wrn-worker-\(worker)", stackSize: stackSize) { state.workerLoop(worker) }
      }
    } catch {
      state.shutDown()
      throw error
    }
  }

  deinit { state.shutDown() }

  /// Lets workers 1, 2, … record one span per parallel loop; worker 0 is the caller, which records its own.
  ///
  /// - Parameter tracer: Has a track for every worker. If `nil`, none records. No loop may be running.
  public func trace(into tracer: Tracer?) { state.tracer = tracer }

  /// Calls `body(context, item, worker)` once for every item in `0..<itemCount`, and returns when all calls have returned.
  ///
  /// The body captures nothing and gets what it needs as its context: passing a capturing closure to other threads costs an
  /// allocation per call, and a training step makes none. It gets the context's address: copies for every item would change
  /// reference counts on all threads at once, 27,600 per step and evaluation of WRN-22-1 instead of 10,900. Members of a
  /// struct are read one by one. A tuple is copied at every access: divide it into its elements once.
  ///
  /// - Parameters:
  ///   - itemCount: The number of items.
  ///   - context: The data of the body; stays on the caller's stack and does not change.
  ///   - label: The name of the loop in a trace; a loop without one is not recorded.
  ///   - body: The work; called from several threads at once with different items, and with a worker's number,
  ///     `0..<workerCount`, that no other call has at the same time.
  public func parallelFor<Context>(
    _ itemCount: Int, with context: Context, label: TraceLabel = .unknown,
    _ body: @escaping (_ context: UnsafePointer<Context>, _ item: Int, _ worker: Int) -> Void
  ) {
    withUnsafePointer(to: context) { context in
      guard workerCount > 1, itemCount > 1 else {
        for item in 0..<itemCount {
          body(context, item, 0)
          state.communicator?.progress()
        }
        return
      }
      state.dispatch(BorrowedTask(context: context, body: body), itemCount, label)
    }
  }
}

/// A loop body of any context type, as the workers see it.
private protocol PoolTask {
  func perform(_ item: Int, worker: Int)
}

/// A loop body whose context is on the stack of the waiting caller.
///
/// Three words, so that `any PoolTask` holds it without an allocation.
private struct BorrowedTask<Context>: PoolTask {
  let context: UnsafePointer<Context>
  let body: (UnsafePointer<Context>, Int, Int) -> Void

  func perform(_ item: Int, worker: Int) { body(context, item, worker) }
}

/// What a pool shares with its threads: the present loop, and how much of it is unclaimed and unfinished.
///
/// A loop ends when its items are finished, not when all workers have seen it: a worker that the system wakes late finds
/// nothing to claim. The loop's fields are read only by a worker that has claimed an item and has not finished it, and
/// meanwhile the loop cannot end; so they need no lock.
private final class PoolState: @unchecked Sendable {
  /// Used by worker 0 alone: MPI is called by the thread that initialized it.
  let communicator: (any Communicator)?
  var tracer: Tracer?
  private var task: (any PoolTask)?
  private var itemCount = 0
  private var label = TraceLabel.unknown
  // Below zero after more claims than items.
  private let unclaimedCount = Atomic<Int>(0)
  private let unfinishedCount = Atomic<Int>(0)
  private let isShutDown = Atomic<Bool>(false)
  private let newItems = EventCount()
  private let allFinished = EventCount()

  init(_ communicator: (any Communicator)?) { self.communicator = communicator }

  /// Runs a loop together with the other workers; called by worker 0.
  func dispatch(_ task: some PoolTask, _ itemCount: Int, _ label: TraceLabel) {
    precondition(self.task == nil, "a loop was started within a loop")
    self.task = task
    self.itemCount = itemCount
    self.label = label
    unfinishedCount.store(itemCount, ordering: .relaxed)
    // Publishes the fields above to the workers that claim items.
    unclaimedCount.store(itemCount, ordering: .sequentiallyConsistent)
    newItems.notifyAll()
    while let item = claimItem() {
      task.perform(item, worker: 0)
      finishItems(1)
      communicator?.progress()
    }
    allFinished.wait { unfinishedCount.load(ordering: .sequentiallyConsistent) == 0 }
    self.task = nil
  }

  /// Takes part in every loop until the pool shuts down; the body of worker 1, 2, ….
  func workerLoop(_ worker: Int) {
    while true {
      newItems.wait {
        unclaimedCount.load(ordering: .sequentiallyConsistent) > 0 || isShutDown.load(ordering: .sequentiallyConsistent)
      }
      if isShutDown.load(ordering: .relaxed) { return }
      if let first = claimItem() { computeItems(worker, from: first) }
    }
  }

  /// Ends all threads; no loop may be running.
  func shutDown() {
    isShutDown.store(true, ordering: .sequentiallyConsistent)
    newItems.notifyAll()
  }

  /// Computes items of the present loop until all are claimed.
  private func computeItems(_ worker: Int, from first: Int) {
    guard let task else { preconditionFailure("an item was claimed of no loop") }
    let tracer = label == .unknown ? nil : tracer
    let start = tracer.now()
    var count = 1
    task.perform(first, worker: worker)
    while let item = claimItem() {
      task.perform(item, worker: worker)
      count += 1
    }
    // Before the items count as finished: afterwards the trace may be read.
    tracer.record(label, track: worker, since: start)
    finishItems(count)
  }

  /// Claims an item of the present loop; `nil` if none is left.
  private func claimItem() -> Int? {
    let left = unclaimedCount.wrappingSubtract(1, ordering: .acquiringAndReleasing).oldValue
    return left > 0 ? itemCount - left : nil
  }

  private func finishItems(_ count: Int) {
    if unfinishedCount.wrappingSubtract(count, ordering: .sequentiallyConsistent).newValue == 0 {
      allFinished.notifyAll()
    }
  }
}
