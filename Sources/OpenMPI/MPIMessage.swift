import COpenMPI
import Collectives

/// A message of a request set: what MPI is asked for, and what an error describes.
struct MPIMessage {
  /// Whether this rank sends or receives it.
  enum Direction {
    case send
    case receive
  }

  /// Whether this rank sends or receives it.
  let direction: Direction
  /// Its memory; a send only reads it.
  let address: UnsafeMutableRawPointer?
  /// Its length.
  let byteCount: Int32
  /// The other rank.
  let peer: Int32
  /// Its tag.
  let tag: Int32
  /// Whether the send waits for others; never for a receive.
  let priority: SendPriority

  /// Converts arguments to the types of MPI.
  ///
  /// - Throws: `CommunicationError` if the message is longer than MPI 3 can count, or its tag exceeds `MPI_TAG_UB`.
  init(
    _ direction: Direction, _ bytes: UnsafeRawBufferPointer, peer: Int, tag: Int,
    priority: SendPriority = .immediate, of communicator: MPICommunicator
  ) throws {
    guard let count = Int32(exactly: bytes.count) else {
      throw CommunicationError(
        "Rank \(communicator.rank) would move \(bytes.count) bytes in one message, but MPI counts at most \(Int32.max): "
          + "split it into smaller messages.")
    }
    guard (0...communicator.maximumTag).contains(tag) else {
      throw CommunicationError(
        "Rank \(communicator.rank) would use the tag \(tag), but this MPI allows at most \(communicator.maximumTag): "
          + "raise --bucket-size, so that there are fewer messages.")
    }
    self.direction = direction
    self.address = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
    self.byteCount = count
    self.peer = Int32(peer)
    self.tag = Int32(tag)
    self.priority = priority
  }

  /// Starts the message (`MPI_Isend` or `MPI_Irecv`) and returns MPI's code; the caller holds the lock.
  func start(_ request: UnsafeMutablePointer<MPI_Request?>, of communicator: MPICommunicator) -> Int32 {
    switch direction {
    case .send: MPI_Isend(address, byteCount, COpenMPI_BYTE(), peer, tag, communicator.handle, request)
    case .receive: MPI_Irecv(address, byteCount, COpenMPI_BYTE(), peer, tag, communicator.handle, request)
    }
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
