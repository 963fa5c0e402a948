/// The learning rate as a pure function of the step, so a resumed run needs no state for it.
public enum LearningRateSchedule: Sendable, Hashable {
  /// The same rate at every step.
  case constant(Double)

  /// Returns the rate of a step, from 1.
  public func callAsFunction(_ step: Int) -> Double {
    switch self {
    case .constant(let rate): rate
    }
  }
}
