import Collectives
import Foundation

/// The state that the ranks of a ``ThreadCommunicator`` share: a barrier, posted buffers, and mailboxes.
final class ThreadTransport: @unchecked Sendable {
  /// The arguments of one rank in a collective; valid until the second barrier of the collective.
  struct Post {
    var send: UnsafeRawBufferPointer
    var counts: [Int]
  }

  /// The key of a mailbox.
  struct Route: Hashable {
    let from: Int
    let to: Int
    let tag: Int
  }

  let worldSize: Int
  let hostOfRank: [Int]

  private var mailboxes: [Route: [[UInt8]]] = [:]
  private var hasEnded: [Bool]
  private let condition = NSCondition()
  private var posts: [Post]
  private var arrivedCount = 0
  private var generation = 0
  private var endedCount = 0
  private var failure: (any Error)?

  init(worldSize: Int, hostOfRank: [Int]) {
    precondition(worldSize > 0, "a world needs at least one rank")
    self.worldSize = worldSize
    self.hostOfRank = hostOfRank
    hasEnded = Array(repeating: false, count: worldSize)
    posts = Array(
      repeating: Post(send: UnsafeRawBufferPointer(start: nil, count: 0), counts: []),
      count: worldSize)
  }

  /// Posts the arguments of this rank, lets every rank read all posts, and returns when all have read.
  func exchange(
    rank: Int, send: UnsafeRawBufferPointer, counts: [Int], read: ([Post]) throws -> Void
  ) throws {
    condition.withLock { posts[rank] = Post(send: send, counts: counts) }
    try barrier()
    do {
      try read(condition.withLock { posts })
    } catch {
      fail(error)
      // Other ranks may still read this rank's buffer, so it returns only after the second barrier.
    }
    try barrier()
  }

  /// Blocks until all ranks have called it; throws on all of them if one has failed or ended.
  func barrier() throws {
    condition.lock()
    defer { condition.unlock() }
    arrivedCount += 1
    if arrivedCount + endedCount == worldSize {
      if endedCount > 0, failure == nil { failure = Self.endedRank }
      arrivedCount = 0
      generation += 1
      condition.broadcast()
    } else {
      let current = generation
      while generation == current { condition.wait() }
    }
    if let failure { throw failure }
  }

  private static var endedRank: CommunicationError {
    CommunicationError("a rank ended while others still communicate")
  }

  /// Appends a message to the mailbox of its route.
  func post(_ message: [UInt8], on route: Route) {
    condition.withLock { mailboxes[route, default: []].append(message) }
  }

  /// Removes and returns the oldest message of a route, or `nil` if there is none; throws if its sender has ended.
  func fetch(_ route: Route) throws -> [UInt8]? {
    try condition.withLock {
      if let failure { throw failure }
      if mailboxes[route]?.isEmpty == false { return mailboxes[route]?.removeFirst() }
      if hasEnded[route.from] { throw Self.endedRank }
      return nil
    }
  }

  /// Returns the number of messages in the mailboxes of a rank.
  func messageCount(to rank: Int) -> Int {
    condition.withLock { mailboxes.reduce(0) { $0 + ($1.key.to == rank ? $1.value.count : 0) } }
  }

  /// Records the first failure.
  func fail(_ error: any Error) {
    condition.withLock { if failure == nil { failure = error } }
  }

  /// Marks a rank as ended, so that the others do not wait for it.
  func rankEnded(_ rank: Int) {
    condition.lock()
    defer { condition.unlock() }
    endedCount += 1
    hasEnded[rank] = true
    if arrivedCount > 0, arrivedCount + endedCount == worldSize {
      if failure == nil { failure = Self.endedRank }
      arrivedCount = 0
      generation += 1
    }
    condition.broadcast()
  }

  /// Blocks until all ranks have ended, and throws the first failure.
  func waitForAll() throws {
    condition.lock()
    defer { condition.unlock() }
    while endedCount < worldSize { condition.wait() }
    if let failure { throw failure }
  }
}
