import Collectives
import Foundation

/// A rank that is a thread of this process, so that distributed code can be tested without MPI.
///
/// Counts that disagree between ranks are reported as errors, where MPI could deliver garbage. When
/// one rank fails, all others get an error from their next exchange instead of waiting for ever.
public final class ThreadCommunicator: Communicator {
  /// This rank's number.
  public let rank: Int
  /// The number of ranks.
  public var worldSize: Int { group.worldSize }
  /// How many exchanges (barriers included) this rank has taken part in; messages of groups do not count.
  public private(set) var exchangeCount = 0
  /// The host of every rank, as the test wants it.
  public var hosts: [Int] { group.hosts }
  /// Threads of one process share its cores.
  public let isOversubscribed = true
  /// What has been sent and waited for so far.
  public let statistics = CommunicationStatistics()

  private let group: ThreadGroup

  private init(rank: Int, group: ThreadGroup) {
    self.rank = rank
    self.group = group
  }

  /// Runs a body once per rank, each in its own thread, and waits for all of them.
  ///
  /// - Parameters:
  ///   - worldSize: The number of ranks.
  ///   - hosts: The host that each rank pretends to run on; nil: all on one.
  ///   - body: What a rank does.
  /// - Returns: The ranks' results, in rank order.
  /// - Throws: The error of the rank that failed first; ``ThreadAbort`` if that rank aborted.
  public static func run<Result: Sendable>(
    worldSize: Int, hosts: [Int]? = nil,
    _ body: @escaping @Sendable (ThreadCommunicator) throws -> Result
  ) throws -> [Result] {
    let group = ThreadGroup(
      worldSize: worldSize, hosts: hosts ?? Array(repeating: 0, count: worldSize))
    let results = Results<Result>(count: worldSize)
    for rank in 0..<worldSize {
      Thread.detachNewThread {
        do {
          results.set(try body(ThreadCommunicator(rank: rank, group: group)), rank: rank)
        } catch {
          group.fail(error)
        }
        group.rankEnded(rank)
      }
    }
    try group.waitForAll()
    return results.all()
  }

  /// Makes a group with room for some messages.
  ///
  /// - Parameter capacity: The most messages that are on their way in this group at once.
  /// - Returns: An empty group.
  public func makeRequestSet(capacity: Int) -> any RequestSet {
    ThreadRequestSet(self, group, capacity: capacity)
  }

  /// Always true.
  public var overlapsCommunication: Bool { true }

  /// Does nothing: a message is through when it is sent.
  public func progress() {}

  /// Returns when every rank has called it.
  ///
  /// - Throws: ``CommunicationError`` if another rank has failed.
  public func barrier() throws {
    exchangeCount += 1
    try group.meet()
  }

  /// Copies `root`'s bytes to every rank.
  ///
  /// - Parameters:
  ///   - bytes: Sent at the root, overwritten elsewhere.
  ///   - root: The sending rank.
  /// - Throws: ``CommunicationError`` if lengths differ or another rank has failed.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws {
    precondition(root >= 0 && root < worldSize, "the root of a broadcast must be a rank")
    exchangeCount += 1
    try group.exchange(rank: rank, send: UnsafeRawBufferPointer(bytes), counts: []) { posts in
      guard posts[root].send.count == bytes.count else {
        throw CommunicationError(
          "rank \(rank) expects \(bytes.count) bytes of a broadcast but rank \(root) sends "
            + "\(posts[root].send.count)")
      }
      if rank != root { bytes.copyMemory(from: posts[root].send) }
    }
  }

  /// Gives every rank the bytes of all ranks.
  ///
  /// - Parameters:
  ///   - send: This rank's bytes.
  ///   - receive: Room for exactly the sum of `counts`.
  ///   - counts: Every rank's byte count.
  /// - Throws: ``CommunicationError`` if the tables differ or another rank has failed.
  public func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) throws {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count, counts: counts)
    exchangeCount += 1
    try group.exchange(rank: rank, send: send, counts: counts) { posts in
      var offset = 0
      for (sender, post) in posts.enumerated() {
        guard post.counts == counts else {
          throw CommunicationError(
            "ranks \(rank) and \(sender) disagree about the counts of an allGather")
        }
        copy(post.send, to: receive, at: offset)
        offset += post.send.count
      }
    }
  }

  /// Sends a piece of `send` to every rank and receives one from every rank.
  ///
  /// - Parameters:
  ///   - send: The pieces for ranks 0, 1, …, one after another.
  ///   - sendCounts: Their byte counts.
  ///   - receive: Room for the pieces from ranks 0, 1, …, one after another.
  ///   - receiveCounts: Their byte counts.
  /// - Throws: ``CommunicationError`` if the tables disagree or another rank has failed.
  public func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) throws {
    checkAllToAll(
      sendByteCount: send.count, sendCounts: sendCounts,
      receiveByteCount: receive.count, receiveCounts: receiveCounts)
    exchangeCount += 1
    try group.exchange(rank: rank, send: send, counts: sendCounts) { posts in
      var offset = 0
      for (sender, post) in posts.enumerated() {
        guard post.counts.count == worldSize, post.counts[rank] == receiveCounts[sender] else {
          throw CommunicationError(
            "ranks \(rank) and \(sender) disagree about the counts of an allToAll")
        }
        let first = post.counts[..<rank].reduce(0, +)
        copy(
          UnsafeRawBufferPointer(rebasing: post.send[first..<first + post.counts[rank]]),
          to: receive, at: offset)
        offset += receiveCounts[sender]
      }
    }
  }

  /// Makes every rank's exchange fail and ``run(worldSize:_:)`` throw ``ThreadAbort``.
  ///
  /// A thread cannot be ended from within Swift, so this one sleeps until the process ends.
  ///
  /// - Parameter exitCode: The exit code that the job would have had.
  public func abort(exitCode: Int32) -> Never {
    group.fail(ThreadAbort(rank: rank, exitCode: exitCode))
    group.rankEnded(rank)
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

/// The results of all ranks, filled in by their threads.
private final class Results<Result: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private var values: [Result?]

  init(count: Int) { values = Array(repeating: nil, count: count) }

  func set(_ value: Result, rank: Int) { lock.withLock { values[rank] = value } }

  func all() -> [Result] { lock.withLock { values.compactMap { $0 } } }
}
