import Collectives

/// Messages of a ``ThreadCommunicator``: sending copies the bytes to a mailbox, so it is through at once.
///
/// A message whose length is not what the receiver expects is an error, where MPI could deliver garbage.
final class ThreadRequestSet: RequestSet {
  private let world: ThreadCommunicator
  private let group: ThreadGroup
  private let capacity: Int
  private var count = 0
  private var open: [(bytes: UnsafeMutableRawBufferPointer, route: ThreadGroup.Route)] = []

  init(_ world: ThreadCommunicator, _ group: ThreadGroup, capacity: Int) {
    self.world = world
    self.group = group
    self.capacity = capacity
  }

  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) throws {
    take(rank)
    group.post(
      Array(bytes), on: ThreadGroup.Route(from: world.rank, to: rank, tag: tag))
    world.statistics.countSend(
      byteCount: bytes.count, isToOtherHost: world.hosts[rank] != world.hosts[world.rank])
  }

  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) throws {
    take(rank)
    open.append((bytes, ThreadGroup.Route(from: rank, to: world.rank, tag: tag)))
  }

  func test() throws -> Bool {
    // In order: of two receives on one route the first gets the first message.
    while let next = open.first, let message = try group.fetch(next.route) {
      guard message.count == next.bytes.count else {
        throw CommunicationError(
          "rank \(world.rank) expects \(next.bytes.count) bytes from rank \(next.route.from) which "
            + "sends \(message.count)")
      }
      next.bytes.copyBytes(from: message)
      open.removeFirst()
    }
    if open.isEmpty { count = 0 }
    return open.isEmpty
  }

  private func take(_ rank: Int) {
    precondition(rank != world.rank, "a rank sends no messages to itself")
    precondition(count < capacity, "more messages are on their way than the group was made for")
    count += 1
  }
}
