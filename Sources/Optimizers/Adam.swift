import Support
import Tensors

/// Adam with decoupled weight decay, as Trax computes it (Kingma and Ba, arXiv:1412.6980; trax/optimizers/adam.py).
///
/// With g the gradient times its scale, t the step from 1, η the learning rate and λ the weight decay, per element:
///
///     m ← (1 − β₁)·g + β₁·m        v ← (1 − β₂)·g² + β₂·v
///     m̂ = m / (1 − β₁^(t+1))       v̂ = v / (1 − β₂^(t+1))
///     w ← (1 − λ)·w − η·m̂ / (√v̂ + ε)
///
/// Three things differ from the paper. The exponent is t + 1, so even step 1 is corrected too little. The decay applies
/// to biases and batch-norm parameters too and is not multiplied by the learning rate. ε is 1e-5.
public struct Adam: UpdateRule {
  private let configuration: OptimizerConfiguration

  /// Creates the rule.
  public init(_ configuration: OptimizerConfiguration) { self.configuration = configuration }

  /// The running means of g and of g²: m and v.
  public var stateNames: [String] { ["m", "v"] }

  /// Updates w, m and v.
  ///
  /// Computes in fp32, but the bias corrections in Double. Moves 28 bytes per element.
  public func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep) {
    let c = configuration
    let correction1 = Float(1 - ReproducibleMath.power(c.beta1, step.number + 1))
    let correction2 = Float(1 - ReproducibleMath.power(c.beta2, step.number + 1))
    let kept = Float(1 - c.weightDecay * step.weightDecayMultiplier)
    let (rate, epsilon) = (Float(step.learningRate), Float(c.epsilon))
    let (beta1, new1) = (Float(c.beta1), Float(1 - c.beta1))
    let (beta2, new2) = (Float(c.beta2), Float(1 - c.beta2))
    let scale = step.gradientScale
    let (w, g) = (operands.parameters, operands.gradients)
    let (m, v) = (operands.state(0), operands.state(1))
    // Eight elements at once: the four arrays could overlap for all the compiler knows, so it does not vectorize.
    let vectorEnd = elements.lowerBound + elements.count / 8 * 8
    for i in stride(from: elements.lowerBound, to: vectorEnd, by: 8) {
      let gradient = scale * SIMD8(loading: g + i)
      let mean = new1 * gradient + beta1 * SIMD8(loading: m + i)
      let variance = new2 * (gradient * gradient) + beta2 * SIMD8(loading: v + i)
      let denominator = variance.divided(by: SIMD8(repeating: correction2)).squareRoots + epsilon
      mean.store(to: m + i)
      variance.store(to: v + i)
      let change = (rate * mean.divided(by: SIMD8(repeating: correction1))).divided(by: denominator)
      (kept * SIMD8(loading: w + i) - change).store(to: w + i)
    }
    for i in vectorEnd..<elements.upperBound {
      let gradient = scale * g[i]
      m[i] = new1 * gradient + beta1 * m[i]
      v[i] = new2 * (gradient * gradient) + beta2 * v[i]
      w[i] = kept * w[i] - rate * (m[i] / correction1) / ((v[i] / correction2).squareRoot() + epsilon)
    }
  }
}
