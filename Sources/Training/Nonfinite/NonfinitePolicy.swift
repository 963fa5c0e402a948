/// What a run does about a step whose loss, batch statistics or gradient is not finite.
public enum NonfinitePolicy: String, Sendable, Codable, CaseIterable {
  /// The run ends.
  case stop
  /// The step has no update; parameters, states and statistics stay as they are.
  ///
  /// An update waits until the whole gradient is known, as with clipping.
  case skip
  /// The run returns to its newest checkpoint, and the step has no update when it is reached again.
  ///
  /// The result is bitwise that of ``skip``, and updates overlap with the backward pass.
  case rollback

  /// The longest sequence of steps without an update.
  package static let maximumConsecutiveSkips = 10
  /// The number of times that a run returns to one checkpoint.
  package static let maximumRollbacks = 3
}

/// A run whose loss, batch statistics or gradient is no longer finite.
public struct TrainingDiverged: Error, CustomStringConvertible {
  /// The step.
  public let step: Int
  /// Where it began: layer, image, microbatch and rank.
  public let cause: String
  /// Why the run could not continue, if it was to.
  public let reason: String?

  /// Describes a step.
  init(step: Int, cause: String, reason: String? = nil) {
    self.step = step
    self.cause = cause
    self.reason = reason
  }

  /// One sentence: which step, where it began, and what may help.
  ///
  /// A resumed run would reach the same step with the same numbers, and refuse another learning rate.
  public var description: String {
    "the run diverged: loss or gradient of step \(step) is not finite, first in \(cause)\(reason.map { "; \($0)" } ?? ""); "
      + "the parameters of step \(step) are not saved; start a new run with a lower --learning-rate and another "
      + "--output-dir, from random weights or with --init CHECKPOINT."
  }
}
