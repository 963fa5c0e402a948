import Collectives

/// The request set of a ``ThreadCommunicator``: a send copies the bytes to a mailbox, so it completes at once.
///
/// A message of the wrong length throws, while MPI could deliver garbage.
final class ThreadRequestSet: RequestSet {
  private let communicator: ThreadCommunicator
  private let transport: ThreadTransport
  private let capacity: Int
  private var count = 0
  private var pending: [(bytes: UnsafeMutableRawBufferPointer, route: ThreadTransport.Route)] = []

  init(_ communicator: ThreadCommunicator, _ transport: ThreadTransport, capacity: Int) {
    self.communicator = communicator
    self.transport = transport
    self.capacity = capacity
  }

  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int, priority: SendPriority) throws {
    reserveSlot(rank)
    transport.post(
      Array(bytes), on: ThreadTransport.Route(from: communicator.rank, to: rank, tag: tag))
    communicator.statistics.countSend(
      byteCount: bytes.count, isToOtherHost: communicator.hostOfRank[rank] != communicator.hostOfRank[communicator.rank]
    )
  }

  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int, priority: SendPriority) throws {
    reserveSlot(rank)
    pending.append((bytes, ThreadTransport.Route(from: rank, to: communicator.rank, tag: tag)))
  }

  func test() throws -> Bool {
    // In order: of two receives on one route the first gets the first message.
    while let next = pending.first, let message = try transport.fetch(next.route) {
      guard message.count == next.bytes.count else {
        throw CommunicationError(
          "rank \(communicator.rank) expects \(next.bytes.count) bytes from rank \(next.route.from) which "
            + "sends \(message.count)")
      }
      next.bytes.copyBytes(from: message)
      pending.removeFirst()
    }
    if pending.isEmpty { count = 0 }
    return pending.isEmpty
  }

  private func reserveSlot(_ rank: Int) {
    precondition(rank != communicator.rank, "a rank cannot send a message to itself")
    precondition(count < capacity, "a request set cannot hold more requests than its capacity")
    count += 1
  }
}
