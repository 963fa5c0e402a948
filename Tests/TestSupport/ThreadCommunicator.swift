import Collectives
import Foundation

/// A rank that is a thread of this process, for tests of distributed code without MPI.
///
/// Mismatched counts throw, while MPI could deliver garbage. If one rank fails, the next collective of all others throws
/// and does not block.
public final class ThreadCommunicator: Communicator {
  /// This rank's number.
  public let rank: Int
  /// The number of ranks.
  public var worldSize: Int { transport.worldSize }
  /// The emulated host of every rank.
  public var hostOfRank: [Int] { transport.hostOfRank }
  /// Always true: a test may have more threads than cores.
  public let isOversubscribed = true
  /// Counters of messages sent and of time spent waiting.
  public let statistics = CommunicationStatistics()

  private let transport: ThreadTransport

  private init(rank: Int, transport: ThreadTransport) {
    self.rank = rank
    self.transport = transport
  }

  /// Runs `body` once per rank, each in its own thread, and blocks until all have ended.
  ///
  /// - Parameters:
  ///   - worldSize: The number of ranks.
  ///   - hostOfRank: The emulated host of every rank. If `nil`, all are on one host.
  ///   - body: The program of a rank.
  /// - Returns: The results of all ranks, in rank order.
  /// - Throws: The error of the rank that failed first; ``ThreadAbort`` if that rank aborted.
  public static func run<Result: Sendable>(
    worldSize: Int, hostOfRank: [Int]? = nil,
    _ body: @escaping @Sendable (ThreadCommunicator) throws -> Result
  ) throws -> [Result] {
    let transport = ThreadTransport(
      worldSize: worldSize, hostOfRank: hostOfRank ?? Array(repeating: 0, count: worldSize))
    let results = Results<Result>(count: worldSize)
    for rank in 0..<worldSize {
      Thread.detachNewThread {
        do {
          results.set(try body(ThreadCommunicator(rank: rank, transport: transport)), rank: rank)
        } catch {
          transport.fail(error)
        }
        transport.rankEnded(rank)
      }
    }
    try transport.waitForAll()
    return results.all()
  }

  /// Implements `Communicator.makeRequestSet(capacity:)`.
  public func makeRequestSet(capacity: Int) -> any RequestSet {
    ThreadRequestSet(self, transport, capacity: capacity)
  }

  /// The number of messages to this rank that it has not received.
  public var undeliveredMessageCount: Int { transport.messageCount(to: rank) }

  /// Always true.
  public var overlapsCommunication: Bool { true }

  /// Does nothing: a send completes at once.
  public func progress() {}

  /// Implements `Communicator.barrier()`.
  public func barrier() throws {
    try transport.barrier()
  }

  /// Implements `Communicator.broadcast(_:root:)`; throws if the lengths differ.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws {
    precondition(root >= 0 && root < worldSize, "the root of a broadcast must be a rank")
    try transport.exchange(rank: rank, send: UnsafeRawBufferPointer(bytes), counts: []) { posts in
      guard posts[root].send.count == bytes.count else {
        throw CommunicationError(
          "rank \(rank) expects \(bytes.count) bytes of a broadcast but rank \(root) sends "
            + "\(posts[root].send.count)")
      }
      if rank != root { bytes.copyMemory(from: posts[root].send) }
    }
  }

  /// Implements `Communicator.allGather(_:into:counts:)`; throws if the tables differ.
  public func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) throws {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count, counts: counts)
    try transport.exchange(rank: rank, send: send, counts: counts) { posts in
      var offset = 0
      for (sender, post) in posts.enumerated() {
        guard post.counts == counts else {
          throw CommunicationError(
            "ranks \(rank) and \(sender) have different counts for an allGather")
        }
        copy(post.send, to: receive, at: offset)
        offset += post.send.count
      }
    }
  }

  /// Implements `Communicator.allGather(_:into:)`; throws if the lengths differ.
  public func allGather(_ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer) throws {
    try allGather(send, into: receive, counts: Array(repeating: send.count, count: worldSize))
  }

  /// Implements `Communicator.allToAll(_:sendCounts:into:receiveCounts:)`; throws if the tables do not match.
  public func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) throws {
    checkAllToAll(
      sendByteCount: send.count, sendCounts: sendCounts,
      receiveByteCount: receive.count, receiveCounts: receiveCounts)
    try transport.exchange(rank: rank, send: send, counts: sendCounts) { posts in
      var offset = 0
      for (sender, post) in posts.enumerated() {
        guard post.counts.count == worldSize, post.counts[rank] == receiveCounts[sender] else {
          throw CommunicationError(
            "ranks \(rank) and \(sender) have different counts for an allToAll")
        }
        let first = post.counts[..<rank].reduce(0, +)
        copy(
          UnsafeRawBufferPointer(rebasing: post.send[first..<first + post.counts[rank]]),
          to: receive, at: offset)
        offset += receiveCounts[sender]
      }
    }
  }

  /// Makes the collectives of every rank fail and ``run(worldSize:hostOfRank:_:)`` throw ``ThreadAbort``.
  ///
  /// Swift cannot end a thread, so this one sleeps until the process ends.
  ///
  /// - Parameter exitCode: The exit code that the job would have.
  public func abort(exitCode: Int32) -> Never {
    transport.fail(ThreadAbort(rank: rank, exitCode: exitCode))
    transport.rankEnded(rank)
    while true { Thread.sleep(forTimeInterval: 3_600) }
  }

  private func copy(
    _ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer, at offset: Int
  ) {
    guard source.count > 0 else { return }
    UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + source.count])
      .copyMemory(from: source)
  }
}

/// The results of all ranks, stored by their threads.
private final class Results<Result: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private var values: [Result?]

  init(count: Int) { values = Array(repeating: nil, count: count) }

  func set(_ value: Result, rank: Int) { lock.withLock { values[rank] = value } }

  func all() -> [Result] { lock.withLock { values.compactMap { $0 } } }
}
