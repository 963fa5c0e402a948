import COpenMPI
import Collectives

/// The request set of ``MPICommunicator``: `MPI_Isend`, `MPI_Irecv`, `MPI_Testsome`.
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

  /// Implements `RequestSet.send(_:to:tag:priority:)`.
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int, priority: SendPriority) throws {
    precondition(rank != communicator.rank, "a rank cannot send a message to itself")
    let isToOtherHost = communicator.isOnOtherHost(rank)
    try append(.send, bytes, peer: rank, tag: tag, isToOtherHost ? priority : .immediate)
    communicator.statistics.countSend(byteCount: bytes.count, isToOtherHost: isToOtherHost)
  }

  /// Implements `RequestSet.receive(into:from:tag:priority:)`.
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int, priority: SendPriority) throws {
    precondition(rank != communicator.rank, "a rank cannot receive a message from itself")
    let priority = communicator.isOnOtherHost(rank) ? priority : .immediate
    try append(.receive, UnsafeRawBufferPointer(bytes), peer: rank, tag: tag, priority)
  }

  /// Implements `RequestSet.test()`.
  func test() throws -> Bool {
    try communicator.withLock {
      // Before all else: polling may have found that the last message of this set failed.
      try communicator.throwRecordedError()
      guard !pending.isComplete else { return true }
      let (_, failure) = pending.progress()
      if let failure { throw failure.error(in: "MPI_Testsome", rank: communicator.rank) }
      communicator.progressQueuedSends()
      return pending.isComplete
    }
  }

  /// Starts or queues a message, in pieces if it has a priority.
  private func append(
    _ direction: MPIMessage.Direction, _ bytes: UnsafeRawBufferPointer, peer: Int, tag: Int, _ priority: SendPriority
  ) throws {
    let pieceLength = priority == .immediate ? bytes.count : SendPriority.pieceByteCount
    var first = 0
    repeat {
      let piece = UnsafeRawBufferPointer(rebasing: bytes[first..<min(first + pieceLength, bytes.count)])
      let message = try MPIMessage(
        direction, piece, peer: peer, tag: tag, priority: direction == .send ? priority : .immediate, of: communicator)
      try communicator.withLock { try pending.append(message, of: communicator) }
      first += pieceLength
    } while first < bytes.count
  }
}
