import COpenMPI
import Collectives

/// The array of one set's requests in the layout of MPI, and a description of each for errors.
///
/// It is separate from the set, so that a polling progress thread never retains the set: the set's deinitializer takes the
/// lock, which that thread holds. The callers of all methods hold the lock.
final class MPIRequestArray {
  private let capacity: Int
  private let indices: UnsafeMutablePointer<Int32>
  private let statuses: UnsafeMutablePointer<MPI_Status>
  private let messages: UnsafeMutablePointer<MPIMessage>
  /// The requests; completed and queued ones are null.
  private let requests: UnsafeMutablePointer<MPI_Request?>
  /// The number of messages since all were last complete.
  private var count = 0
  private var incompleteCount = 0
  /// The queued sends that have not been started, among the messages from ``firstQueued`` on.
  private var queuedCount = 0
  private var firstQueued = 0
  /// The priority of the queued sends; a set has those of one priority at a time.
  private(set) var queuedPriority = SendPriority.immediate
  /// The bytes of sends that were queued, have been started and are not complete.
  private(set) var startedByteCount = 0

  init(capacity: Int) {
    self.capacity = capacity
    let allocated = max(capacity, 1)
    requests = .allocate(capacity: allocated)
    requests.initialize(repeating: COpenMPI_REQUEST_NULL(), count: allocated)
    indices = .allocate(capacity: allocated)
    statuses = .allocate(capacity: allocated)
    statuses.initialize(repeating: MPI_Status(), count: allocated)
    messages = .allocate(capacity: allocated)
  }

  deinit {
    requests.deallocate()
    indices.deallocate()
    statuses.deallocate()
    messages.deallocate()
  }

  /// Whether all messages are complete.
  var isComplete: Bool { incompleteCount == 0 }

  /// Whether a queued send has not been started.
  var hasQueuedSends: Bool { queuedCount > 0 }

  /// Starts a message, or queues it if it has a priority.
  ///
  /// - Throws: `CommunicationError` if MPI refuses it.
  func append(_ message: MPIMessage, of communicator: MPICommunicator) throws {
    if isComplete { (count, firstQueued) = (0, 0) }
    precondition(count < capacity, "a request set cannot hold more requests than its capacity")
    messages[count] = message
    if message.priority == .immediate {
      try MPIError.check(
        message.start(requests + count, of: communicator), in: message.direction == .send ? "MPI_Isend" : "MPI_Irecv",
        rank: communicator.rank, message)
    } else {
      precondition(
        queuedPriority == message.priority || queuedCount == 0 && startedByteCount == 0,
        "a request set queues sends of one priority at a time")
      queuedPriority = message.priority
      queuedCount += 1
    }
    count += 1
    incompleteCount += 1
  }

  /// Starts the first queued send.
  ///
  /// - Precondition: There is one.
  /// - Returns: The message if MPI refuses it.
  func startQueuedSend(of communicator: MPICommunicator) -> MPIMessage.Failure? {
    while messages[firstQueued].priority == .immediate { firstQueued += 1 }
    let message = messages[firstQueued]
    let code = message.start(requests + firstQueued, of: communicator)
    startedByteCount += Int(message.byteCount)
    firstQueued += 1
    queuedCount -= 1
    return code == MPI_SUCCESS ? nil : .mpi(code, message)
  }

  /// Polls for progress (`MPI_Testsome`).
  ///
  /// - Returns: The number of messages that completed, and the first one that failed.
  func progress() -> (completedCount: Int, failure: MPIMessage.Failure?) {
    guard incompleteCount > queuedCount else { return (0, nil) }
    var completed: Int32 = 0
    let code = MPI_Testsome(Int32(count), requests, &completed, indices, statuses)
    // The count is negative if no request is pending.
    let completedCount = max(0, Int(completed))
    incompleteCount -= completedCount
    for i in 0..<completedCount {
      let message = messages[Int(indices[i])]
      if message.priority != .immediate { startedByteCount -= Int(message.byteCount) }
    }
    return (completedCount, code != MPI_SUCCESS ? failure(code, completedCount) : mismatch(completedCount))
  }

  /// Finds the message whose status has an error.
  private func failure(_ code: Int32, _ statusCount: Int) -> MPIMessage.Failure {
    // Statuses have errors only with this code.
    guard code == MPI_ERR_IN_STATUS else { return .mpi(code, nil) }
    for i in 0..<statusCount {
      let error = statuses[i].MPI_ERROR
      if error != MPI_SUCCESS && error != MPI_ERR_PENDING { return .mpi(error, messages[Int(indices[i])]) }
    }
    return .mpi(code, nil)
  }

  /// Finds a received message of another length than expected.
  private func mismatch(_ statusCount: Int) -> MPIMessage.Failure? {
    for i in 0..<statusCount {
      let message = messages[Int(indices[i])]
      // The status of a send has no source.
      guard message.direction == .receive, statuses[i].MPI_SOURCE == message.peer else { continue }
      var byteCount: Int32 = 0
      MPI_Get_count(statuses + i, COpenMPI_BYTE(), &byteCount)
      if byteCount != message.byteCount { return .length(byteCount, message) }
    }
    return nil
  }
}
