/// The ranks that train together, and the few ways in which they exchange bytes.
///
/// Only bytes move here; every sum is formed by the caller in the fixed order of
/// ``ReductionTree``, so no result can depend on how a library orders its additions.
///
/// Every method that communicates is *collective*: every rank calls it, in the same order, with
/// counts that agree. Calls come from one thread of each rank. A count table whose sum is not the
/// length of its buffer traps on every implementation.
public protocol Communicator: AnyObject {
  /// This process's number, 0 ..< `worldSize`.
  var rank: Int { get }
  /// The number of ranks.
  var worldSize: Int { get }

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
