#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A world of one rank, for a program that was not started by `mpirun`.
///
/// Every exchange is a copy within this process and none can fail.
public final class SingleProcessCommunicator: Communicator {
  /// Makes a world of one.
  public init() {}

  /// Always 0.
  public var rank: Int { 0 }
  /// Always 1.
  public var worldSize: Int { 1 }

  /// One host.
  public let hosts = [0]
  /// Always false.
  public var isOversubscribed: Bool { false }
  /// Stays at zero.
  public let statistics = CommunicationStatistics()

  /// Makes a group that never has a message: there is nobody to send to.
  public func makeRequestSet(capacity: Int) -> any RequestSet { EmptyMessageGroup() }

  /// Always true.
  public var overlapsCommunication: Bool { true }

  /// Does nothing.
  public func progress() {}

  /// Returns at once.
  public func barrier() {}

  /// Leaves `bytes` as they are: the only rank is the root.
  ///
  /// - Parameters:
  ///   - bytes: Untouched.
  ///   - root: Must be 0.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {
    precondition(root == 0, "a world of one has no rank but 0")
  }

  /// Copies `send` to `receive`.
  ///
  /// - Parameters:
  ///   - send: This rank's bytes.
  ///   - receive: Room for them.
  ///   - counts: The one byte count.
  public func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count, counts: counts)
    receive.copyMemory(from: send)
  }

  /// Copies `send` to `receive`.
  ///
  /// - Parameters:
  ///   - send: This rank's bytes.
  ///   - sendCounts: The one byte count.
  ///   - receive: Room for them.
  ///   - receiveCounts: The same byte count.
  public func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) {
    checkAllToAll(
      sendByteCount: send.count, sendCounts: sendCounts,
      receiveByteCount: receive.count, receiveCounts: receiveCounts)
    receive.copyMemory(from: send)
  }

  /// Ends this process at once.
  ///
  /// - Parameter exitCode: The process's exit code.
  public func abort(exitCode: Int32) -> Never { _exit(exitCode) }
}

/// A group of a world of one.
private final class EmptyMessageGroup: RequestSet {
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) {
    preconditionFailure("a world of one has no other rank to send to")
  }

  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) {
    preconditionFailure("a world of one has no other rank to receive from")
  }

  func test() -> Bool { true }
}
