import COpenMPI
import Collectives
import Foundation
import Support

/// The request set of ``MPICommunicator``: `MPI_Isend`, `MPI_Irecv`, `MPI_Testall`.
final class MPIRequestSet: RequestSet {
  private let communicator: MPICommunicator
  private let pending: MPIRequestArray

  /// Allocates the slots and registers them for progress.
  init(_ communicator: MPICommunicator, capacity: Int) {
    self.communicator = communicator
    pending = MPIRequestArray(capacity: capacity)
    communicator.register(pending)
  }

  deinit { communicator.unregister(pending) }

  /// Implements `RequestSet.send(_:to:tag:)`.
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) throws {
    precondition(rank != communicator.rank, "a rank cannot send a message to itself")
    let message = try MPIMessage(.send, byteCount: bytes.count, peer: rank, tag: tag, of: communicator)
    try communicator.withLock {
      try MPIError.check(
        MPI_Isend(
          bytes.baseAddress, message.byteCount, COpenMPI_BYTE(), message.peer, message.tag,
          communicator.handle, pending.freeSlot), in: "MPI_Isend", rank: communicator.rank, message)
      pending.append(message)
    }
    let hosts = communicator.hostOfRank
    communicator.statistics.countSend(
      byteCount: bytes.count, isToOtherHost: hosts[rank] != hosts[communicator.rank])
  }

  /// Implements `RequestSet.receive(into:from:tag:)`.
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) throws {
    precondition(rank != communicator.rank, "a rank cannot receive a message from itself")
    let message = try MPIMessage(.receive, byteCount: bytes.count, peer: rank, tag: tag, of: communicator)
    try communicator.withLock {
      try MPIError.check(
        MPI_Irecv(
          bytes.baseAddress, message.byteCount, COpenMPI_BYTE(), message.peer, message.tag,
          communicator.handle, pending.freeSlot), in: "MPI_Irecv", rank: communicator.rank, message)
      pending.append(message)
    }
  }

  /// Implements `RequestSet.test()`.
  func test() throws -> Bool {
    // Only this thread changes the count.
    guard pending.count > 0 else { return true }
    return try communicator.withLock {
      try communicator.throwRecordedError()
      let (isComplete, failure) = pending.testAll()
      if let failure { throw failure.error(in: "MPI_Testall", rank: communicator.rank) }
      return isComplete
    }
  }
}

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

  /// Polls the requests of all sets, and returns whether any completed.
  private func pollRequests() -> Bool {
    var hasCompleted = false
    for requests in requestArrays {
      let (completedCount, failure) = requests.progress()
      if let failure { recordError(failure) }
      if completedCount > 0 { hasCompleted = true }
    }
    return hasCompleted
  }
}
