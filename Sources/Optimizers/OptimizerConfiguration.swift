/// An update rule and its constants.
public struct OptimizerConfiguration: Codable, Sendable, Hashable {
  /// The rule's name.
  public var name = "adam"
  /// The decay of the mean gradient, in [0, 1).
  public var beta1 = 0.9
  /// The decay of the mean squared gradient, in [0, 1).
  public var beta2 = 0.999
  /// The term beside the root; Trax's default, three orders above the paper's.
  public var epsilon = 1e-5
  /// The part of every weight that is taken away in a step, apart from the learning rate.
  public var weightDecay = 1e-5

  /// Makes Trax's defaults (trax/optimizers/adam.py).
  public init() {}
}
