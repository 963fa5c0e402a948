import Support
import Tensors

/// Stochastic gradient descent with momentum and weight decay, as PyTorch's `torch.optim.SGD` with dampening 0.
///
/// With g the gradient times its scale, η the learning rate, λ the weight decay and μ the momentum, per element:
///
///     d ← g + λ·w
///     b ← μ·b + d
///     w ← w − η·(d + μ·b)    with Nesterov momentum (Sutskever et al., ICML 2013)
///     w ← w − η·b            without
///
/// PyTorch starts with b = d at step 1, as a zero state does here. The decay is part of the gradient, so the learning
/// rate multiplies it. A change of the rate leaves b as it is. With momentum 0 both forms are w ← w − η·d.
public struct SGD: UpdateRule {
  private let configuration: OptimizerConfiguration

  /// Creates the rule.
  public init(_ configuration: OptimizerConfiguration) { self.configuration = configuration }

  /// PyTorch's `momentum_buffer`: b.
  public let stateNames = ["momentum"]

  /// Updates w and b.
  ///
  /// Computes in fp32. Moves 20 bytes per element.
  public func update(_ elements: Range<Int>, of operands: UpdateOperands, at step: UpdateStep) {
    let decay = Float(configuration.weightDecay * step.weightDecayMultiplier)
    let (rate, scale, momentum) = (Float(step.learningRate), step.gradientScale, Float(configuration.momentum))
    let nesterov = configuration.nesterov
    let (w, g, b) = (operands.parameters, operands.gradients, operands.state(0))
    // Eight elements at once: the three arrays could overlap for all the compiler knows, so it does not vectorize.
    let vectorEnd = elements.lowerBound + elements.count / 8 * 8
    for i in stride(from: elements.lowerBound, to: vectorEnd, by: 8) {
      let weight = SIMD8(loading: w + i)
      let gradient = scale * SIMD8(loading: g + i) + decay * weight
      let buffer = momentum * SIMD8(loading: b + i) + gradient
      buffer.store(to: b + i)
      (weight - rate * (nesterov ? gradient + momentum * buffer : buffer)).store(to: w + i)
    }
    for i in vectorEnd..<elements.upperBound {
      let gradient = scale * g[i] + decay * w[i]
      b[i] = momentum * b[i] + gradient
      w[i] -= rate * (nesterov ? gradient + momentum * b[i] : b[i])
    }
  }
}
