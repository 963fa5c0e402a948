/// A rank's call of `abort`, as ``ThreadCommunicator/run(worldSize:_:)`` reports it.
public struct ThreadAbort: Error, Equatable {
  /// The rank that aborted.
  public let rank: Int
  /// The exit code that the job would have had.
  public let exitCode: Int32

  /// Names a rank and its exit code.
  public init(rank: Int, exitCode: Int32) {
    self.rank = rank
    self.exitCode = exitCode
  }
}
