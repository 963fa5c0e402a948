import Support
import Tensors

/// An exponential moving average of the weights, as one more state of any update rule.
///
/// With w the weights after the base rule's update, a the average, β its decay and n the steps between averagings:
///
///     a ← w                     at step n
///     a ← β·a + (1 − β)·w       at steps 2n, 3n, …
///
/// The weights are bitwise identical to those of the base rule alone. The step's number decides everything, so a resumed
/// run needs nothing but the state. Before step n the average is undefined; ``hasAverage(at:every:)`` says so.
public struct AveragingRule: UpdateRule {
  /// The name of the state that holds the average.
  public static let stateName = "average"

  private let base: any UpdateRule
  private let averageIndex: Int
  private let decay: Double
  private let interval: Int

  /// The base rule's states and `average`.
  public let stateNames: [String]

  /// Creates the rule.
  ///
  /// - Parameters:
  ///   - base: The rule that updates the weights.
  ///   - decay: The fraction of the average that an averaging keeps, in [0, 1).
  ///   - every: The number of steps between averagings, at least 1.
  /// - Precondition: `decay` and `every` are in range, and `base` has no state `average`.
  public init(_ base: any UpdateRule, decay: Double, every: Int) {
    precondition(decay >= 0 && decay < 1, "the decay must lie in [0, 1)")
    precondition(every >= 1, "averagings are at least one step apart")
    precondition(!base.stateNames.contains(Self.stateName), "the base rule already has an average")
    self.base = base
    self.decay = decay
    interval = every
    averageIndex = base.stateNames.count
    stateNames = base.stateNames + [Self.stateName]
  }

  /// Whether the average is defined after a step.
  ///
  /// - Parameters:
  ///   - step: The number of steps that were made, from 0.
  ///   - every: The number of steps between averagings.
  /// - Returns: Whether at least one averaging was made.
  public static func hasAverage(at step: Int, every: Int) -> Bool { step >= every }

  /// Starts the average if that is due, since it is undefined before; later averagings are skipped with the update.
  public func skip(_ elements: Range<Int>, of operands: UpdateOperands, at step: Int) {
    base.skip(elements, of: operands, at: step)
    guard step == interval else { return }
    (operands.state(averageIndex) + elements.lowerBound).update(
      from: operands.parameters + elements.lowerBound, count: elements.count)
  }

  /// Updates weights and states of the base rule, then the average if it is due.
  ///
  /// Computes in fp32. An averaging moves 12 bytes per element more than the base rule.
  public func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep) {
    base.update(elements, of: operands, at: step)
    guard step.number % interval == 0 else { return }
    let (w, average) = (operands.parameters, operands.state(averageIndex))
    if step.number == interval {
      (average + elements.lowerBound).update(from: w + elements.lowerBound, count: elements.count)
      return
    }
    let (kept, new) = (Float(decay), Float(1 - decay))
    let vectorEnd = elements.lowerBound + elements.count / 8 * 8
    for i in stride(from: elements.lowerBound, to: vectorEnd, by: 8) {
      (kept * SIMD8(loading: average + i) + new * SIMD8(loading: w + i)).store(to: average + i)
    }
    for i in vectorEnd..<elements.upperBound { average[i] = kept * average[i] + new * w[i] }
  }
}
