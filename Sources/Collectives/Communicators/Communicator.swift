/// The ranks that train together, and the few ways in which they exchange bytes.
///
/// Only bytes move here; every sum is formed by the caller in the fixed order of
/// ``ReductionTree``, so no result can depend on how a library orders its additions.
///
/// Every method that exchanges at once is *collective*: every rank calls it, in the same order, with
/// counts that agree. A count table whose sum is not the length of its buffer traps on every
/// implementation. Messages between two ranks go through a ``RequestSet`` and travel while the
/// ranks compute. Calls come from one thread of each rank.
public protocol Communicator: AnyObject {
  /// This process's number, 0 ..< `worldSize`.
  var rank: Int { get }
  /// The number of ranks.
  var worldSize: Int { get }

  /// The host of every rank, as numbers from 0 in the order of their first ranks.
  var hosts: [Int] { get }
  /// Whether more ranks run on this host than it has cores, so that who waits must make room.
  var isOversubscribed: Bool { get }
  /// What has been sent and waited for so far.
  var statistics: CommunicationStatistics { get }

  /// Makes a group with room for some messages; does not communicate.
  ///
  /// - Parameter capacity: The most messages that are on their way in this group at once.
  /// - Returns: An empty group.
  func makeRequestSet(capacity: Int) -> any RequestSet

  /// Whether messages are moved on while the ranks compute; false only where a benchmark shows what that brings.
  var overlapsCommunication: Bool { get }

  /// Moves the messages of all groups on, for a rank that computes while they travel.
  ///
  /// Open MPI does nothing for a message while the program is outside its functions. Cheap enough
  /// to be called after every piece of work; an error shows when the group is tested.
  func progress()

  /// Returns when every rank has called it (`MPI_Barrier`).
  ///
  /// - Throws: ``CommunicationError`` if the exchange fails.
  func barrier() throws

  /// Copies `root`'s bytes to every rank (`MPI_Bcast`).
  ///
  /// - Parameters:
  ///   - bytes: Sent at the root, overwritten elsewhere; the same length on every rank.
  ///   - root: The sending rank.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws

  /// Gives every rank the bytes of all ranks, one rank's after another's (`MPI_Allgatherv`).
  ///
  /// - Parameters:
  ///   - send: This rank's bytes; `send.count == counts[rank]`.
  ///   - receive: Room for exactly the sum of `counts`; does not overlap `send`.
  ///   - counts: Every rank's byte count, the same table on every rank.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) throws

  /// Sends a piece of `send` to every rank and receives one from every rank (`MPI_Alltoallv`).
  ///
  /// - Parameters:
  ///   - send: The pieces for ranks 0, 1, …, one after another.
  ///   - sendCounts: Their byte counts.
  ///   - receive: Room for the pieces from ranks 0, 1, …, one after another; does not overlap
  ///     `send`.
  ///   - receiveCounts: Their byte counts; what `sendCounts` says at the sender.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) throws

  /// Ends the whole job at once with an exit code (`MPI_Abort`), without waiting for anyone.
  ///
  /// - Parameter exitCode: What the job reports, 1 … 255.
  func abort(exitCode: Int32) -> Never
}

/// An exchange between ranks that failed.
public struct CommunicationError: Error, CustomStringConvertible {
  /// One sentence: the call, the rank and the cause.
  public let description: String

  /// Makes an error from its sentence.
  public init(_ description: String) { self.description = description }
}

/// Who moves messages on while the ranks compute; Open MPI 4 does it only inside its own functions.
public enum ProgressMode: String, Sendable, Codable, CaseIterable {
  /// The computing thread, between two pieces of work. Takes no core.
  case poll
  /// A thread of its own, for hosts with a core to spare: it sleeps between looks.
  case thread
}

/// What a rank has sent so far and how long it has waited: counters that only grow.
public final class CommunicationStatistics {
  /// The bytes that left this rank as messages of groups, to any rank.
  public private(set) var sentByteCount = 0
  /// Those of them that went to ranks of other hosts.
  public private(set) var sentToOtherHostsByteCount = 0
  /// The number of these messages.
  public private(set) var sentMessageCount = 0
  /// The nanoseconds that this rank spent in ``Communicator/wait(for:)``: communication that nothing hid.
  public internal(set) var waitedNanoseconds: UInt64 = 0

  /// Starts at zero.
  public init() {}

  /// Counts a message.
  ///
  /// - Parameters:
  ///   - byteCount: Its length.
  ///   - isToOtherHost: Whether it leaves the host.
  public func countSend(byteCount: Int, isToOtherHost: Bool) {
    sentMessageCount &+= 1
    sentByteCount &+= byteCount
    if isToOtherHost { sentToOtherHostsByteCount &+= byteCount }
  }
}

extension Communicator {
  /// Traps unless the arguments of an all-gather fit this rank.
  ///
  /// For implementations of ``Communicator``: every one of them starts its `allGather` with this
  /// check, so that a wrong table is found with one rank and in tests, not first on a cluster.
  ///
  /// - Parameters:
  ///   - sendByteCount: The length of the send buffer.
  ///   - receiveByteCount: The length of the receive buffer.
  ///   - counts: Every rank's byte count.
  public func checkAllGather(sendByteCount: Int, receiveByteCount: Int, counts: [Int]) {
    precondition(counts.count == worldSize, "allGather needs one count for every rank")
    precondition(sendByteCount == counts[rank], "allGather must send what its own count says")
    precondition(
      receiveByteCount == sum(counts), "allGather's receive buffer must hold the sum of the counts")
  }

  /// Traps unless the arguments of an all-to-all fit this rank.
  ///
  /// - Parameters:
  ///   - sendByteCount: The length of the send buffer.
  ///   - sendCounts: The byte counts of the pieces sent.
  ///   - receiveByteCount: The length of the receive buffer.
  ///   - receiveCounts: The byte counts of the pieces received.
  public func checkAllToAll(
    sendByteCount: Int, sendCounts: [Int], receiveByteCount: Int, receiveCounts: [Int]
  ) {
    precondition(
      sendCounts.count == worldSize && receiveCounts.count == worldSize,
      "allToAll needs one send count and one receive count for every rank")
    precondition(
      sendByteCount == sum(sendCounts), "allToAll's send buffer must hold the sum of the counts")
    precondition(
      receiveByteCount == sum(receiveCounts),
      "allToAll's receive buffer must hold the sum of the counts")
    precondition(
      sendCounts[rank] == receiveCounts[rank], "allToAll must receive from itself what it sends")
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
