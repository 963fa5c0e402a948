import Synchronization

/// A wish to stop after the current step, from a signal to any one rank.
public final class StopRequest: Sendable {
  private let flag = Atomic<Bool>(false)

  /// Makes a request that nobody has made yet.
  public init() {}

  /// Asks to stop; may be called from a signal handler.
  public func request() { flag.store(true, ordering: .relaxed) }

  /// Tells whether this rank was asked.
  public var isMade: Bool { flag.load(ordering: .relaxed) }
}

/// The run stopped after a step because somebody asked it to, with a checkpoint of that step.
public struct TrainingStopped: Error, CustomStringConvertible {
  /// The last step done.
  public let step: Int
  /// The run's folder.
  public let outputDirectory: String

  /// One sentence: where it stopped and how to go on.
  public var description: String {
    "stopped on request after step \(step), checkpoint written; "
      + "the same command with --output-dir \(outputDirectory) goes on from there."
  }
}

/// The loss or the gradient is no longer a number.
public struct TrainingDiverged: Error, CustomStringConvertible {
  /// The step whose loss or gradient is not finite.
  public let step: Int

  /// One sentence: where, and what may help.
  public var description: String {
    "the run diverged: loss or gradient of step \(step) is not finite; the parameters of step \(step) are not saved; "
      + "start again with a lower --learning-rate or resume from the last checkpoint."
  }
}
