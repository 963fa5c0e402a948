import Collectives
import Foundation
import Support

extension MPICommunicator {
  /// Whether messages progress while the ranks compute.
  public var overlapsCommunication: Bool { progressMode != nil }

  /// Implements `Communicator.progress()`, at most every 100 µs; does nothing where a progress thread runs.
  public func progress() {
    guard progressMode == .poll, !requestArrays.isEmpty else { return }
    let now = MonotonicClock.now()
    guard now &- lastProgress > 100_000 else { return }
    lastProgress = now
    _ = pollRequests()
  }

  /// Starts the thread of `ProgressMode.thread`.
  ///
  /// - Throws: `SystemThread.StartError` if the system refuses.
  func startProgressThread() throws {
    try SystemThread.start("wrn-progress") { [weak self] in
      while let self, self.drainProgress() { usleep(Self.sleepMicroseconds) }
    }
  }

  private static var sleepMicroseconds: UInt32 { 100 }

  /// Polls until no further request completes.
  ///
  /// - Returns: False once ``stopProgressThread()`` was called.
  private func drainProgress() -> Bool {
    while true {
      let hasCompleted = withLock {
        guard !isStopped else { return nil as Bool? }
        return pollRequests()
      }
      guard let hasCompleted else { return false }
      if !hasCompleted { return true }
    }
  }

  /// Polls the requests of all sets and starts queued sends; returns whether any request completed.
  private func pollRequests() -> Bool {
    var hasCompleted = false
    for requests in requestArrays {
      let (completedCount, failure) = requests.progress()
      if let failure { recordError(failure, in: "MPI_Testsome") }
      if completedCount > 0 { hasCompleted = true }
    }
    sendWindow.update(
      startedByteCount: requestArrays.reduce(0) { $0 + $1.startedByteCount },
      isWaiting: requestArrays.contains { $0.hasQueuedSends })
    startQueuedSends()
    return hasCompleted
  }

  /// Polls the sets that have started queued sends, and starts more; the caller holds the lock.
  ///
  /// A rank that waits for one set calls it as well. Otherwise sends of the other sets would stay in the window, and those
  /// that it waits for in the queue.
  func progressQueuedSends() {
    for requests in requestArrays where requests.startedByteCount > 0 {
      if let failure = requests.progress().failure { recordError(failure, in: "MPI_Testsome") }
    }
    startQueuedSends()
  }

  /// Starts queued sends, those of the highest priority first, while less than a window of bytes is in flight.
  private func startQueuedSends() {
    while let requests = nextToSend() {
      if let failure = requests.startQueuedSend(of: self) { return recordError(failure, in: "MPI_Isend") }
    }
  }

  /// The requests whose queued send starts next; `nil` if there is none, or if the window is full.
  ///
  /// Partial sums start in the order of their sets, and results in the opposite order: the last bucket has the parameters
  /// that the next forward pass needs first. Results in flight never delay a partial sum, because they may wait for a rank
  /// that does not receive them yet.
  private func nextToSend() -> MPIRequestArray? {
    var (sumByteCount, resultByteCount) = (0, 0)
    var (sums, results): (MPIRequestArray?, MPIRequestArray?) = (nil, nil)
    for requests in requestArrays {
      switch requests.queuedPriority {
      case .immediate: continue
      case .partialSum:
        sumByteCount += requests.startedByteCount
        if sums == nil && requests.hasQueuedSends { sums = requests }
      case .result:
        resultByteCount += requests.startedByteCount
        if requests.hasQueuedSends { results = requests }
      }
    }
    if let sums { return sumByteCount < sendWindow.byteCount ? sums : nil }
    return sumByteCount + resultByteCount < sendWindow.byteCount ? results : nil
  }
}
