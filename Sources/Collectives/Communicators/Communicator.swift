/// The ranks of a job and the collectives that they perform on bytes.
///
/// A communicator moves bytes and does no arithmetic. Callers add in the fixed order of ``ReductionTree``, so no result
/// depends on the order in which a library adds.
///
/// Every rank must call the methods marked *Collective*, in the same order and with matching counts. Every
/// implementation traps if a table of counts does not add up to the length of its buffer. Point-to-point messages go
/// through a ``RequestSet`` and are in flight while the ranks compute. One thread per rank makes all calls.
public protocol Communicator: AnyObject {
  /// The number of this process, 0 ..< `worldSize`.
  var rank: Int { get }
  /// The number of ranks.
  var worldSize: Int { get }

  /// The host of every rank; hosts are numbered from 0 in the order of their lowest ranks.
  var hostOfRank: [Int] { get }
  /// Whether this host has more ranks than cores, so that a waiting rank must yield its core.
  var isOversubscribed: Bool { get }
  /// Counters of messages sent and of time spent waiting.
  var statistics: CommunicationStatistics { get }

  /// Creates an empty request set; does not communicate.
  ///
  /// - Parameter capacity: The maximum number of pending requests in this set.
  /// - Returns: The request set.
  func makeRequestSet(capacity: Int) -> any RequestSet

  /// Whether messages progress while the ranks compute; false only in a benchmark that measures the benefit.
  var overlapsCommunication: Bool { get }

  /// Polls for progress of the pending requests of all sets.
  ///
  /// Open MPI progresses messages only inside its own functions. The call is cheap enough to follow every work item. An
  /// error surfaces when the set is tested.
  func progress()

  /// Collective: blocks until every rank has called it (`MPI_Barrier`).
  ///
  /// - Throws: ``CommunicationError`` if communication fails.
  func barrier() throws

  /// Collective: copies the bytes of `root` to every rank (`MPI_Bcast`).
  ///
  /// - Parameters:
  ///   - bytes: Sent at the root, overwritten elsewhere; the same length on every rank.
  ///   - root: The sending rank.
  /// - Throws: ``CommunicationError`` if communication fails.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws

  /// Collective: gathers the bytes of all ranks on every rank, concatenated in rank order (`MPI_Allgatherv`).
  ///
  /// - Parameters:
  ///   - send: This rank's bytes; `send.count == counts[rank]`.
  ///   - receive: Memory for exactly the sum of `counts`; must not overlap `send`.
  ///   - counts: One byte count per rank, the same table on every rank.
  /// - Throws: ``CommunicationError`` if communication fails.
  func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) throws

  /// Collective: gathers equally many bytes of every rank on every rank, concatenated in rank order (`MPI_Allgatherv`).
  ///
  /// Implementations for training allocate nothing.
  ///
  /// - Parameters:
  ///   - send: This rank's bytes; the same length on every rank.
  ///   - receive: Memory for exactly `worldSize` times as many bytes; must not overlap `send`.
  /// - Throws: ``CommunicationError`` if communication fails.
  func allGather(_ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer) throws

  /// Collective: sends one shard of `send` to every rank and receives one from every rank (`MPI_Alltoallv`).
  ///
  /// - Parameters:
  ///   - send: The shards for ranks 0, 1, …, concatenated.
  ///   - sendCounts: Their byte counts.
  ///   - receive: Memory for the shards from ranks 0, 1, …, concatenated; must not overlap `send`.
  ///   - receiveCounts: Their byte counts; each equals the sender's entry of `sendCounts` for this rank.
  /// - Throws: ``CommunicationError`` if communication fails.
  func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) throws

  /// Ends the whole job at once with an exit code (`MPI_Abort`); does not wait for other ranks.
  ///
  /// - Parameter exitCode: The exit code of the job, 1 … 255.
  func abort(exitCode: Int32) -> Never
}

/// A failed collective or message.
public struct CommunicationError: Error, CustomStringConvertible {
  /// One sentence: the call, the rank and the cause.
  public let description: String

  /// Creates an error from its sentence.
  public init(_ description: String) { self.description = description }
}

/// The thread that polls for progress while the ranks compute.
///
/// Open MPI 4 progresses messages only inside its own functions.
public enum ProgressMode: String, Sendable, Codable, CaseIterable {
  /// The computing thread polls between work items; no core is set aside.
  case poll
  /// A dedicated thread polls and sleeps in between, for hosts with an idle core.
  case thread
}

/// Counters of a rank's messages and waiting time; they only grow.
public final class CommunicationStatistics {
  /// The bytes that this rank has sent through request sets, to any rank.
  public private(set) var sentByteCount = 0
  /// The part of ``sentByteCount`` that went to ranks of other hosts.
  public private(set) var sentToOtherHostsByteCount = 0
  /// The number of messages that this rank has sent through request sets.
  public private(set) var sentMessageCount = 0
  /// The nanoseconds that this rank has spent in ``Communicator/wait(for:)``: communication not hidden by computation.
  public internal(set) var waitedNanoseconds: UInt64 = 0
  /// What the rank does now, for a watchdog on another thread.
  public let activity = RankActivity()

  /// Creates counters that are zero.
  public init() {}

  /// Counts one message.
  ///
  /// - Parameters:
  ///   - byteCount: The length of the message.
  ///   - isToOtherHost: Whether the receiver is on another host.
  public func countSend(byteCount: Int, isToOtherHost: Bool) {
    sentMessageCount &+= 1
    sentByteCount &+= byteCount
    if isToOtherHost { sentToOtherHostsByteCount &+= byteCount }
  }
}

extension Communicator {
  /// Traps unless the arguments of an all-gather are consistent on this rank.
  ///
  /// Implementations of ``Communicator/allGather(_:into:counts:)`` start with this check, so that tests with one rank
  /// find a wrong table.
  ///
  /// - Parameters:
  ///   - sendByteCount: The length of the send buffer.
  ///   - receiveByteCount: The length of the receive buffer.
  ///   - counts: One byte count per rank.
  public func checkAllGather(sendByteCount: Int, receiveByteCount: Int, counts: [Int]) {
    precondition(counts.count == worldSize, "allGather needs one count per rank")
    precondition(sendByteCount == counts[rank], "allGather must send as many bytes as this rank's count")
    precondition(
      receiveByteCount == sum(counts), "allGather's receive buffer must hold the sum of the counts")
  }

  /// Traps unless the arguments of an all-gather of equally many bytes per rank are consistent.
  ///
  /// - Parameters:
  ///   - sendByteCount: The length of the send buffer.
  ///   - receiveByteCount: The length of the receive buffer.
  public func checkAllGather(sendByteCount: Int, receiveByteCount: Int) {
    precondition(
      receiveByteCount == worldSize * sendByteCount,
      "allGather's receive buffer must hold as many bytes per rank as the send buffer")
  }

  /// Traps unless the arguments of an all-to-all are consistent on this rank.
  ///
  /// - Parameters:
  ///   - sendByteCount: The length of the send buffer.
  ///   - sendCounts: The byte counts of the shards to send.
  ///   - receiveByteCount: The length of the receive buffer.
  ///   - receiveCounts: The byte counts of the shards to receive.
  public func checkAllToAll(
    sendByteCount: Int, sendCounts: [Int], receiveByteCount: Int, receiveCounts: [Int]
  ) {
    precondition(
      sendCounts.count == worldSize && receiveCounts.count == worldSize,
      "allToAll needs one send count and one receive count per rank")
    precondition(
      sendByteCount == sum(sendCounts), "allToAll's send buffer must hold the sum of the send counts")
    precondition(
      receiveByteCount == sum(receiveCounts),
      "allToAll's receive buffer must hold the sum of the receive counts")
    precondition(
      sendCounts[rank] == receiveCounts[rank], "allToAll must receive from this rank what it sends to itself")
  }

  private func sum(_ counts: [Int]) -> Int {
    var total = 0
    for count in counts {
      precondition(count >= 0, "a byte count cannot be negative")
      total += count
    }
    return total
  }
}
