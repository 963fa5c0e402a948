#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A world of one rank, for a process that `mpirun` did not start.
///
/// Every collective is a copy within this process and cannot fail.
public final class SingleProcessCommunicator: Communicator {
  /// Creates a world of one rank.
  public init() {}

  /// Always 0.
  public var rank: Int { 0 }
  /// Always 1.
  public var worldSize: Int { 1 }

  /// One host.
  public let hostOfRank = [0]
  /// Always false.
  public var isOversubscribed: Bool { false }
  /// Always zero.
  public let statistics = CommunicationStatistics()

  /// Implements ``Communicator/makeRequestSet(capacity:)`` with a set that traps on use, since there is no other rank.
  public func makeRequestSet(capacity: Int) -> any RequestSet { EmptyRequestSet() }

  /// Always true.
  public var overlapsCommunication: Bool { true }

  /// Does nothing.
  public func progress() {}

  /// Implements ``Communicator/barrier()``; returns at once.
  public func barrier() {}

  /// Implements ``Communicator/broadcast(_:root:)``; leaves the bytes as they are.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {
    precondition(root == 0, "the only rank of a single process is 0")
  }

  /// Implements ``Communicator/allGather(_:into:counts:)`` as a copy.
  public func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count, counts: counts)
    receive.copyMemory(from: send)
  }

  /// Implements ``Communicator/allGather(_:into:)`` as a copy.
  public func allGather(_ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer) {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count)
    receive.copyMemory(from: send)
  }

  /// Implements ``Communicator/allToAll(_:sendCounts:into:receiveCounts:)`` as a copy.
  public func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) {
    checkAllToAll(
      sendByteCount: send.count, sendCounts: sendCounts,
      receiveByteCount: receive.count, receiveCounts: receiveCounts)
    receive.copyMemory(from: send)
  }

  /// Implements ``Communicator/abort(exitCode:)`` by exiting this process at once.
  public func abort(exitCode: Int32) -> Never { _exit(exitCode) }
}

/// The request set of a world of one rank, which has no requests.
private final class EmptyRequestSet: RequestSet {
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int, priority: SendPriority) {
    preconditionFailure("a single process has no other rank to send to")
  }

  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int, priority: SendPriority) {
    preconditionFailure("a single process has no other rank to receive from")
  }

  func test() -> Bool { true }
}
