/// The error that ``ThreadCommunicator/run(worldSize:hostOfRank:_:)`` throws after a rank has called `abort`.
public struct ThreadAbort: Error, Equatable {
  /// The rank that aborted.
  public let rank: Int
  /// The exit code that the job would have.
  public let exitCode: Int32

  /// Creates the error of a rank and its exit code.
  public init(rank: Int, exitCode: Int32) {
    self.rank = rank
    self.exitCode = exitCode
  }
}
