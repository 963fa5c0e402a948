import COpenMPI
import Collectives

/// The array of one set's requests in the layout of MPI, and a description of each for errors.
///
/// It is separate from the set, so that a polling progress thread never retains the set: the set's deinitializer takes the
/// lock, which that thread holds.
final class MPIRequestArray {
  private let capacity: Int
  private let indices: UnsafeMutablePointer<Int32>
  private let statuses: UnsafeMutablePointer<MPI_Status>
  private let messages: UnsafeMutablePointer<MPIMessage>
  /// The requests; completed ones are null.
  private let requests: UnsafeMutablePointer<MPI_Request?>
  /// The number of requests started since all were last complete.
  private(set) var count = 0

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

  /// The slot of the next request.
  var freeSlot: UnsafeMutablePointer<MPI_Request?> {
    precondition(count < capacity, "a request set cannot hold more requests than its capacity")
    return requests + count
  }

  /// Counts the request that has been started in ``freeSlot``.
  func append(_ message: MPIMessage) {
    messages[count] = message
    count += 1
  }

  /// Tests whether all requests are complete (`MPI_Testall`); the caller holds the lock.
  ///
  /// - Returns: Whether they are, and the first message that failed.
  func testAll() -> (isComplete: Bool, failure: MPIMessage.Failure?) {
    var isComplete: Int32 = 0
    let code = MPI_Testall(Int32(count), requests, &isComplete, statuses)
    if code != MPI_SUCCESS { return (false, failure(code, count) { $0 }) }
    guard isComplete != 0 else { return (false, nil) }
    let mismatch = mismatch(count) { $0 }
    count = 0
    return (true, mismatch)
  }

  /// Polls for progress (`MPI_Testsome`); the caller holds the lock.
  ///
  /// - Returns: The number of requests that completed, and the first message that failed.
  func progress() -> (completedCount: Int, failure: MPIMessage.Failure?) {
    guard count > 0 else { return (0, nil) }
    var completed: Int32 = 0
    let code = MPI_Testsome(Int32(count), requests, &completed, indices, statuses)
    // The count is negative if no request is pending.
    let completedCount = max(0, Int(completed))
    let indices = indices
    let failure =
      code != MPI_SUCCESS
      ? failure(code, completedCount) { Int(indices[$0]) } : mismatch(completedCount) { Int(indices[$0]) }
    return (completedCount, failure)
  }

  /// Finds the message whose status has an error.
  private func failure(_ code: Int32, _ statusCount: Int, _ index: (Int) -> Int) -> MPIMessage.Failure {
    // Statuses have errors only with this code.
    guard code == MPI_ERR_IN_STATUS else { return .mpi(code, nil) }
    for i in 0..<statusCount {
      let error = statuses[i].MPI_ERROR
      if error != MPI_SUCCESS && error != MPI_ERR_PENDING { return .mpi(error, messages[index(i)]) }
    }
    return .mpi(code, nil)
  }

  /// Finds a received message of another length than expected.
  private func mismatch(_ statusCount: Int, _ index: (Int) -> Int) -> MPIMessage.Failure? {
    for i in 0..<statusCount {
      let message = messages[index(i)]
      // The status of a send, or of a request that was complete before, has no source.
      guard message.direction == .receive, statuses[i].MPI_SOURCE == message.peer else { continue }
      var byteCount: Int32 = 0
      MPI_Get_count(statuses + i, COpenMPI_BYTE(), &byteCount)
      if byteCount != message.byteCount { return .length(byteCount, message) }
    }
    return nil
  }
}

/// A message of a request set: what MPI is asked for, and what an error describes.
struct MPIMessage {
  /// Whether this rank sends or receives it.
  enum Direction {
    case send
    case receive
  }

  /// Whether this rank sends or receives it.
  let direction: Direction
  /// Its length.
  let byteCount: Int32
  /// The other rank.
  let peer: Int32
  /// Its tag.
  let tag: Int32

  /// Converts arguments to the types of MPI.
  ///
  /// - Throws: `CommunicationError` if the message is longer than MPI 3 can count, or its tag exceeds `MPI_TAG_UB`.
  init(
    _ direction: Direction, byteCount: Int, peer: Int, tag: Int, of communicator: MPICommunicator
  ) throws {
    guard let count = Int32(exactly: byteCount) else {
      throw CommunicationError(
        "Rank \(communicator.rank) would move \(byteCount) bytes in one message, but MPI counts at most \(Int32.max): "
          + "split it into smaller messages.")
    }
    guard (0...communicator.maximumTag).contains(tag) else {
      throw CommunicationError(
        "Rank \(communicator.rank) would use the tag \(tag), but this MPI allows at most \(communicator.maximumTag): "
          + "raise --bucket-size, so that there are fewer messages.")
    }
    self.direction = direction
    self.byteCount = count
    self.peer = Int32(peer)
    self.tag = Int32(tag)
  }

  /// For example `receiving 8 bytes from rank 2 (tag 17)`.
  var description: String {
    let words = direction == .send ? ("sending", "to") : ("receiving", "from")
    return "\(words.0) \(byteCount) bytes \(words.1) rank \(peer) (tag \(tag))"
  }

  /// A message that failed.
  enum Failure {
    /// MPI's error, and the message if MPI's status names one.
    case mpi(Int32, MPIMessage?)
    /// A received message of another length.
    case length(Int32, MPIMessage)

    /// The error to throw.
    ///
    /// - Parameters:
    ///   - call: The name of the call that reported it.
    ///   - rank: The calling rank.
    /// - Returns: The error, which names the other rank.
    func error(in call: StaticString, rank: Int) -> CommunicationError {
      switch self {
      case .mpi(let code, let message): MPIError.error(code, in: call, rank: rank, message)
      case .length(let found, let message):
        CommunicationError(
          "Rank \(rank) received \(found) bytes while \(message.description); check that all ranks run the same program "
            + "with the same flags.")
      }
    }
  }
}
