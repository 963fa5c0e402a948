import Tensors

/// Adam with decoupled weight decay, as Trax computes it (Kingma and Ba, arXiv:1412.6980; trax/optimizers/adam.py).
///
/// With g the gradient, t the step from 1, η the rate, λ the decay, every element by itself:
///
///     m ← (1 − β₁)·g + β₁·m        v ← (1 − β₂)·g² + β₂·v
///     m̂ = m / (1 − β₁^(t+1))       v̂ = v / (1 − β₂^(t+1))
///     w ← (1 − λ)·w − η·m̂ / (√v̂ + ε)
///
/// Three things differ from the paper: the exponent is t + 1, so even step 1 is corrected too little; the decay applies to
/// biases and batch-norm parameters too and is not multiplied by the rate; ε is 1e-5.
public struct Adam {
  private let configuration: OptimizerConfiguration
  private let firstMoment: ParameterStore
  private let secondMoment: ParameterStore

  /// Makes the rule; the moments belong to the caller, who saves and restores them.
  ///
  /// - Parameters:
  ///   - configuration: β₁, β₂, ε and λ.
  ///   - firstMoment: m, zero before step 1; updated by ``step(parameters:gradients:learningRate:step:range:)``.
  ///   - secondMoment: v, likewise.
  public init(
    _ configuration: OptimizerConfiguration, firstMoment: ParameterStore,
    secondMoment: ParameterStore
  ) {
    self.configuration = configuration
    self.firstMoment = firstMoment
    self.secondMoment = secondMoment
  }

  /// Updates a range of elements of parameters and moments.
  ///
  /// Elements are independent, so several threads may update disjoint ranges at once, and how the ranges are cut changes
  /// nothing. fp32 throughout; the corrections are formed in Double. Moves 28 bytes an element.
  ///
  /// - Parameters:
  ///   - parameters: The weights.
  ///   - gradients: The gradient of the mean loss, laid out like `parameters`.
  ///   - learningRate: η.
  ///   - step: t, from 1.
  ///   - range: The elements to update.
  ///   - place: Where the moments of the range's first element are, for a rank that holds only some; nil: where the
  ///     element is.
  public func step(
    parameters: ParameterStore, gradients: ParameterStore, learningRate: Double, step: Int,
    range: Range<Int>, momentsAt place: Int? = nil
  ) {
    precondition(step >= 1, "steps are counted from 1")
    precondition(
      range.lowerBound >= 0 && range.upperBound <= parameters.elements.count,
      "the range must lie within the parameters")
    let shift = (place ?? range.lowerBound) - range.lowerBound
    precondition(
      range.lowerBound + shift >= 0
        && range.upperBound + shift <= min(firstMoment.elements.count, secondMoment.elements.count),
      "the moments of the range must lie within those that there are")
    let c = configuration
    let correction1 = Float(1 - ReproducibleMath.power(c.beta1, step + 1))
    let correction2 = Float(1 - ReproducibleMath.power(c.beta2, step + 1))
    let (rate, kept, epsilon) = (Float(learningRate), Float(1 - c.weightDecay), Float(c.epsilon))
    let (beta1, new1) = (Float(c.beta1), Float(1 - c.beta1))
    let (beta2, new2) = (Float(c.beta2), Float(1 - c.beta2))
    let (w, g) = (parameters.pointer, gradients.pointer)
    let (m, v) = (firstMoment.pointer + shift, secondMoment.pointer + shift)
    // Eight elements at once: the compiler does not dare to, for all it knows the four arrays overlap.
    let vectorEnd = range.lowerBound + range.count / 8 * 8
    for i in stride(from: range.lowerBound, to: vectorEnd, by: 8) {
      let gradient = Self.load(g + i)
      let mean = new1 * gradient + beta1 * Self.load(m + i)
      let variance = new2 * (gradient * gradient) + beta2 * Self.load(v + i)
      let denominator = (variance / correction2).squareRoot() + epsilon
      Self.store(mean, m + i)
      Self.store(variance, v + i)
      Self.store(kept * Self.load(w + i) - rate * (mean / correction1) / denominator, w + i)
    }
    for i in vectorEnd..<range.upperBound {
      m[i] = new1 * g[i] + beta1 * m[i]
      v[i] = new2 * (g[i] * g[i]) + beta2 * v[i]
      w[i] = kept * w[i] - rate * (m[i] / correction1) / ((v[i] / correction2).squareRoot() + epsilon)
    }
  }

  private static func load(_ source: UnsafePointer<Float>) -> SIMD8<Float> {
    UnsafeRawPointer(source).loadUnaligned(as: SIMD8<Float>.self)
  }

  private static func store(_ value: SIMD8<Float>, _ target: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(target).storeBytes(of: value, as: SIMD8<Float>.self)
  }
}

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
