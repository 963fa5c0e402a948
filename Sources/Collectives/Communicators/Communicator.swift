/// The ranks that train together, and the few ways in which they exchange bytes.
///
/// Only bytes move here; every sum is formed by the caller in the fixed order of
/// ``ReductionTree``, so no result can depend on how a library orders its additions.
///
/// Every method that exchanges at once is *collective*: every rank calls it, in the same order, with
/// counts that agree. A count table whose sum is not the length of its buffer traps on every
/// implementation. Messages between two ranks go through a ``MessageGroup`` and travel while the
/// ranks compute. Calls come from one thread of each rank.
public protocol Communicator: AnyObject {
  /// This process's number, 0 ..< `worldSize`.
  var rank: Int { get }
  /// The number of ranks.
  var worldSize: Int { get }

  /// The host of every rank, as numbers from 0 in the order of their first ranks.
  var hosts: [Int] { get }
  /// Whether more ranks run on this host than it has cores, so that who waits must make room.
  var sharesCores: Bool { get }
  /// What has been sent and waited for so far.
  var statistics: ExchangeStatistics { get }

  /// Makes a group with room for some messages; does not communicate.
  ///
  /// - Parameter capacity: The most messages that are on their way in this group at once.
  /// - Returns: An empty group.
  func makeMessageGroup(capacity: Int) -> any MessageGroup

  /// Whether messages are moved on while the ranks compute; false only where a benchmark shows what that brings.
  var progressesWhileComputing: Bool { get }

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
