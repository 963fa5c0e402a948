import Synchronization

/// A request to stop after the current step; a signal to any one rank suffices.
public final class StopRequest: Sendable {
  private let flag = Atomic<Bool>(false)

  /// Creates a request that is not set.
  public init() {}

  /// Requests a stop; may be called from a signal handler.
  public func request() { flag.store(true, ordering: .relaxed) }

  /// Whether a stop was requested on this rank.
  public var isRequested: Bool { flag.load(ordering: .relaxed) }
}

/// A run that stopped on request after a step, with a checkpoint of that step.
public struct TrainingStopped: Error, CustomStringConvertible {
  /// The last step done.
  public let step: Int
  /// The run's directory.
  public let outputDirectory: String

  /// One sentence: after which step, and how to continue.
  public var description: String {
    "stopped on request after step \(step), checkpoint written; "
      + "the same command with --output-dir \(outputDirectory) resumes from it."
  }
}
