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
    try communicator.withLock {
      try MPIError.check(
        MPI_Isend(
          bytes.baseAddress, Int32(bytes.count), COpenMPI_BYTE(), Int32(rank), Int32(tag),
          communicator.handle, pending.freeSlot), in: "MPI_Isend", rank: communicator.rank)
      pending.count += 1
    }
    let hosts = communicator.hostOfRank
    communicator.statistics.countSend(
      byteCount: bytes.count, isToOtherHost: hosts[rank] != hosts[communicator.rank])
  }

  /// Implements `RequestSet.receive(into:from:tag:)`.
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) throws {
    precondition(rank != communicator.rank, "a rank cannot receive a message from itself")
    try communicator.withLock {
      try MPIError.check(
        MPI_Irecv(
          bytes.baseAddress, Int32(bytes.count), COpenMPI_BYTE(), Int32(rank), Int32(tag),
          communicator.handle, pending.freeSlot), in: "MPI_Irecv", rank: communicator.rank)
      pending.count += 1
    }
  }

  /// Implements `RequestSet.test()`.
  func test() throws -> Bool {
    // Only this thread changes the count.
    guard pending.count > 0 else { return true }
    return try communicator.withLock {
      try communicator.throwRecordedError()
      var isComplete: Int32 = 0
      try MPIError.check(
        MPI_Testall(Int32(pending.count), pending.requests, &isComplete, COpenMPI_STATUSES_IGNORE()),
        in: "MPI_Testall", rank: communicator.rank)
      if isComplete != 0 { pending.count = 0 }
      return isComplete != 0
    }
  }
}

/// The array of one set's requests in the layout of MPI.
///
/// It is separate from the set, so that a polling progress thread never retains the set: the set's deinitializer takes the
/// lock, which that thread holds.
final class MPIRequestArray {
  private let capacity: Int
  private let indices: UnsafeMutablePointer<Int32>
  /// The requests; completed ones are null.
  let requests: UnsafeMutablePointer<MPI_Request?>
  /// The number of requests started since all were last complete.
  var count = 0

  init(capacity: Int) {
    self.capacity = capacity
    requests = .allocate(capacity: max(capacity, 1))
    requests.initialize(repeating: COpenMPI_REQUEST_NULL(), count: max(capacity, 1))
    indices = .allocate(capacity: max(capacity, 1))
  }

  deinit {
    requests.deallocate()
    indices.deallocate()
  }

  /// The slot of the next request.
  var freeSlot: UnsafeMutablePointer<MPI_Request?> {
    precondition(count < capacity, "a request set cannot hold more requests than its capacity")
    return requests + count
  }

  /// Polls for progress (`MPI_Testsome`); the caller holds the lock.
  ///
  /// - Returns: MPI's return code, and the number of requests that completed.
  func progress() -> (code: Int32, completedCount: Int32) {
    guard count > 0 else { return (Int32(MPI_SUCCESS), 0) }
    var completed: Int32 = 0
    let code = MPI_Testsome(
      Int32(count), requests, &completed, indices, COpenMPI_STATUSES_IGNORE())
    return (code, completed)
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
      let (code, completedCount) = requests.progress()
      if code != MPI_SUCCESS { recordError(code) }
      if completedCount > 0 { hasCompleted = true }
    }
    return hasCompleted
  }
}
