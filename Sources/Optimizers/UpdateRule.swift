import Tensors

/// An optimizer's update rule: computes new parameters and states from gradients, parameters and states.
///
/// A rule declares its states by name. Every state has one float per element of the parameters and is zero before step 1.
/// Shards, checkpoints and memory plans iterate over the names, so a new rule is one conforming type.
public protocol UpdateRule: Sendable {
  /// The names of the states, in the order of ``UpdateOperands/state(_:)``.
  ///
  /// `optimizer.safetensors` holds each state as `<state>.<parameter>`, so a renamed state cannot be resumed.
  var stateNames: [String] { get }

  /// Updates the parameters and states of a range of elements.
  ///
  /// Deterministic: an element depends on itself alone, so the division into ranges does not affect results. Several
  /// threads call it for disjoint ranges. It must not allocate memory.
  ///
  /// - Parameters:
  ///   - elements: The elements to update, within `operands.elements`.
  ///   - operands: Parameters, gradients and states.
  ///   - step: The step's number, learning rate, weight decay and gradient scale.
  func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep)

  /// Does what a step requires even if its update is skipped; by default nothing.
  ///
  /// - Parameters:
  ///   - elements: The elements, within `operands.elements`.
  ///   - operands: Parameters and states.
  ///   - step: The number of the step.
  func skip(_ elements: Range<Int>, of operands: UpdateOperands, at step: Int)
}

extension UpdateRule {
  /// Does nothing: parameters and states stay as they are.
  public func skip(_ elements: Range<Int>, of operands: UpdateOperands, at step: Int) {}
}

/// The scalars of an update: step, learning rate, weight decay and gradient scale of the elements.
public struct UpdateStep: Sendable, Hashable {
  /// The number of the step, from 1.
  public let number: Int
  /// The learning rate of the elements.
  public let learningRate: Double
  /// The factor of the rule's weight decay for the elements, normally 1.
  public let weightDecayMultiplier: Double
  /// The factor of the gradients, such as ``GradientClipping`` gives; 1 does not affect results.
  public let gradientScale: Float

  /// Creates the scalars of an update.
  ///
  /// - Precondition: `number` is at least 1.
  public init(
    number: Int, learningRate: Double, weightDecayMultiplier: Double = 1, gradientScale: Float = 1
  ) {
    precondition(number >= 1, "steps are counted from 1")
    self.number = number
    self.learningRate = learningRate
    self.weightDecayMultiplier = weightDecayMultiplier
    self.gradientScale = gradientScale
  }
}

/// The arrays of an update: index i is parameter element i in all of them.
///
/// The caller must keep the stores alive, and must ensure that no two threads update the same element.
public struct UpdateOperands {
  /// The elements that may be accessed.
  public let elements: Range<Int>
  /// The weights.
  public let parameters: UnsafeMutablePointer<Float>
  /// The gradient of the mean loss.
  public let gradients: UnsafePointer<Float>

  private let states: [ParameterStore]
  private let stateShift: Int

  /// Checks bounds and creates the operands of a range.
  ///
  /// - Parameters:
  ///   - elements: The elements to update.
  ///   - parameters: The weights.
  ///   - gradients: The gradient of the mean loss, with the layout of `parameters`.
  ///   - states: The rule's states, in the order of their names.
  ///   - stateOffset: The index in every state of the range's first element, for a rank that holds a shard. If `nil`,
  ///     the states have the layout of `parameters`.
  /// - Precondition: All arrays contain the range.
  public init(
    _ elements: Range<Int>, parameters: ParameterStore, gradients: ParameterStore, states: [ParameterStore],
    stateOffset: Int? = nil
  ) {
    precondition(
      elements.lowerBound >= 0 && elements.upperBound <= parameters.elements.count
        && elements.upperBound <= gradients.elements.count,
      "the range must lie within parameters and gradients")
    let shift = (stateOffset ?? elements.lowerBound) - elements.lowerBound
    for state in states {
      precondition(
        elements.lowerBound + shift >= 0 && elements.upperBound + shift <= state.elements.count,
        "the range must lie within the states")
    }
    self.elements = elements
    self.parameters = parameters.pointer
    self.gradients = UnsafePointer(gradients.pointer)
    self.states = states
    stateShift = shift
  }

  /// The state with an index in ``UpdateRule/stateNames``, to be subscripted with the index of a parameter element.
  public func state(_ index: Int) -> UnsafeMutablePointer<Float> { states[index].pointer + stateShift }
}

/// Factors of learning rate and weight decay for some parameters.
public struct UpdateMultipliers: Sendable, Hashable {
  /// The factor of the learning rate.
  public var learningRate: Double
  /// The factor of the weight decay; 0 for parameters that do not decay.
  public var weightDecay: Double

  /// Creates multipliers.
  public init(learningRate: Double = 1, weightDecay: Double = 1) {
    self.learningRate = learningRate
    self.weightDecay = weightDecay
  }
}

/// An update rule for the parameters of one model, with multipliers per kind of parameter.
public struct Optimizer: Sendable {
  /// The update rule.
  public let rule: any UpdateRule
  /// Maximal ranges of parameters with equal multipliers.
  private let ranges: [(elements: Range<Int>, multipliers: UpdateMultipliers)]

  /// Creates an optimizer.
  ///
  /// - Parameters:
  ///   - rule: The update rule.
  ///   - layout: The names and ranges of the parameters.
  ///   - multipliers: The multipliers of each kind of parameter; all 1 for kinds that are not listed.
  public init(
    _ rule: any UpdateRule, layout: ParameterLayout, multipliers: [ParameterKind: UpdateMultipliers] = [:]
  ) {
    self.rule = rule
    var ranges: [(elements: Range<Int>, multipliers: UpdateMultipliers)] = []
    for parameter in layout.parameters {
      let own = multipliers[parameter.kind] ?? UpdateMultipliers()
      if let last = ranges.last, last.multipliers == own {
        ranges[ranges.count - 1].elements = last.elements.lowerBound..<parameter.range.upperBound
      } else {
        ranges.append((parameter.range, own))
      }
    }
    self.ranges = ranges
  }

  /// Updates all elements of the operands.
  ///
  /// It calls the rule once if all elements have the same multipliers, and allocates nothing.
  ///
  /// - Parameters:
  ///   - operands: Parameters, gradients and states.
  ///   - step: The number of the step, from 1.
  ///   - learningRate: The learning rate before multipliers.
  ///   - gradientScale: The factor of the gradients.
  public func update(_ operands: UpdateOperands, step: Int, learningRate: Double, gradientScale: Float = 1) {
    for range in ranges where range.elements.overlaps(operands.elements) {
      rule.update(
        range.elements.clamped(to: operands.elements), of: operands,
        at: UpdateStep(
          number: step, learningRate: learningRate * range.multipliers.learningRate,
          weightDecayMultiplier: range.multipliers.weightDecay, gradientScale: gradientScale))
    }
  }
}
