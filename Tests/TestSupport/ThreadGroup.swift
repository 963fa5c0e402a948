import Collectives
import Foundation

/// What the ranks of a ``ThreadCommunicator`` share: a meeting point and what each rank posted.
final class ThreadGroup: @unchecked Sendable {
  /// What a rank brings to an exchange; valid until all have met again.
  struct Post {
    var send: UnsafeRawBufferPointer
    var counts: [Int]
  }

  /// Where a message belongs.
  struct Route: Hashable {
    let from: Int
    let to: Int
    let tag: Int
  }

  let worldSize: Int
  let hosts: [Int]

  private var mailboxes: [Route: [[UInt8]]] = [:]
  private var hasEnded: [Bool]
  private let condition = NSCondition()
  private var posts: [Post]
  private var arrived = 0
  private var generation = 0
  private var ended = 0
  private var failure: (any Error)?

  init(worldSize: Int, hosts: [Int]) {
    precondition(worldSize > 0, "a group needs at least one rank")
    self.worldSize = worldSize
    self.hosts = hosts
    hasEnded = Array(repeating: false, count: worldSize)
    posts = Array(
      repeating: Post(send: UnsafeRawBufferPointer(start: nil, count: 0), counts: []),
      count: worldSize)
  }

  /// Posts, lets every rank read all posts, and returns when all have read.
  func exchange(
    rank: Int, send: UnsafeRawBufferPointer, counts: [Int], read: ([Post]) throws -> Void
  ) throws {
    condition.withLock { posts[rank] = Post(send: send, counts: counts) }
    try meet()
    do {
      try read(condition.withLock { posts })
    } catch {
      fail(error)
      // The others may still read this rank's buffer: leave only after they have met or failed.
    }
    try meet()
  }

  /// Returns when all ranks are here; throws on all of them if one has failed or has left.
  func meet() throws {
    condition.lock()
    defer { condition.unlock() }
    arrived += 1
    if arrived + ended == worldSize {
      if ended > 0, failure == nil {
        failure = CommunicationError("a rank left while others still communicate")
      }
      arrived = 0
      generation += 1
      condition.broadcast()
    } else {
      let mine = generation
      while generation == mine { condition.wait() }
    }
    if let failure { throw failure }
  }

  /// Puts a message into the mailbox of its route.
  func post(_ message: [UInt8], on route: Route) {
    condition.withLock { mailboxes[route, default: []].append(message) }
  }

  /// Takes the oldest message of a route, if there is one; throws if none can come any more.
  func fetch(_ route: Route) throws -> [UInt8]? {
    try condition.withLock {
      if let failure { throw failure }
      if mailboxes[route]?.isEmpty == false { return mailboxes[route]?.removeFirst() }
      if hasEnded[route.from] {
        throw CommunicationError("a rank left while others still communicate")
      }
      return nil
    }
  }

  /// Records the first failure.
  func fail(_ error: any Error) {
    condition.withLock { if failure == nil { failure = error } }
  }

  /// Tells the others not to wait for this rank any more.
  func rankEnded(_ rank: Int) {
    condition.lock()
    defer { condition.unlock() }
    ended += 1
    hasEnded[rank] = true
    if arrived > 0, arrived + ended == worldSize {
      if failure == nil {
        failure = CommunicationError("a rank left while others still communicate")
      }
      arrived = 0
      generation += 1
    }
    condition.broadcast()
  }

  /// Waits for the end of all ranks and rethrows the first failure.
  func waitForAll() throws {
    condition.lock()
    defer { condition.unlock() }
    while ended < worldSize { condition.wait() }
    if let failure { throw failure }
  }
}
