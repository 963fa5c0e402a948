import Tensors

/// The update rules by name.
public enum OptimizerName: String, Sendable, Codable, CaseIterable {
  /// ``Adam``, with decoupled weight decay.
  case adam
  /// ``SGD``, with momentum.
  case sgd
}

/// The choice of an update rule, and its constants.
///
/// Every rule reads the constants that it knows. The defaults are those of Trax (trax/optimizers/adam.py).
public struct OptimizerConfiguration: Sendable, Hashable {
  /// The update rule.
  public var name = OptimizerName.adam
  /// Adam's decay of the mean gradient, in [0, 1).
  public var beta1 = 0.9
  /// Adam's decay of the mean squared gradient, in [0, 1).
  public var beta2 = 0.999
  /// Adam's term added to the root; Trax's default, 1,000 times the paper's.
  public var epsilon = 1e-5
  /// The weight decay, at least 0.
  ///
  /// For Adam, the fraction of every weight that a step removes, independent of the learning rate. For SGD, the factor
  /// of the weight in the gradient.
  public var weightDecay = 1e-5
  /// SGD's factor of the previous update direction, in [0, 1).
  public var momentum = 0.9
  /// Whether SGD uses Nesterov momentum.
  public var nesterov = true
  /// Whether biases, and scales and shifts of batch norms, decay as weights do.
  public var decaysBiases = true
  /// The factor of the learning rate of biases, and shifts of batch norms.
  ///
  /// SGD's decay is part of the gradient, so the factor multiplies it, too.
  public var biasLearningRateFactor = 1.0
  /// The norm that gradients are clipped to; 0 for no clipping.
  public var clipNorm = 0.0
  /// The fraction of the average of the weights that an averaging keeps, in [0, 1); 0 for no average.
  public var averageDecay = 0.0
  /// The number of steps between averagings, at least 1.
  public var averageEvery = 1

  /// Creates Trax's defaults.
  public init() {}

  /// The update rule with these constants, within ``AveragingRule`` if ``averageDecay`` is not 0.
  public var rule: any UpdateRule {
    let base: any UpdateRule =
      switch name {
      case .adam: Adam(self)
      case .sgd: SGD(self)
      }
    return averageDecay > 0 ? AveragingRule(base, decay: averageDecay, every: averageEvery) : base
  }

  /// The multipliers of the kinds of parameters whose rate or decay is not the common one, for ``Optimizer``.
  public var multipliers: [ParameterKind: UpdateMultipliers] {
    let decay: Double = decaysBiases ? 1 : 0
    let offset = UpdateMultipliers(learningRate: biasLearningRateFactor, weightDecay: decay)
    let all: [ParameterKind: UpdateMultipliers] = [
      .bias: offset, .shift: offset, .scale: UpdateMultipliers(weightDecay: decay),
    ]
    return all.filter { $0.value != UpdateMultipliers() }
  }
}
