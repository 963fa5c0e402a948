import Foundation

/// The reference implementation of Trax's Adam (trax/optimizers/adam.py) for one array, in Double.
public struct ReferenceAdam {
  /// The hyperparameters, with Trax's defaults.
  public var (beta1, beta2, epsilon, weightDecay) = (0.9, 0.999, 1e-5, 1e-5)
  /// The moments m and v.
  public private(set) var moments: (first: [Double], second: [Double])
  private var step = 0

  /// Creates the optimizer of `count` elements, with zero moments.
  public init(count: Int) {
    let zeros = [Double](repeating: 0, count: count)
    moments = (zeros, zeros)
  }

  /// Performs update t, the first being t = 1; the bias corrections have the exponent t + 1.
  public mutating func update(_ weights: inout [Double], gradients: [Double], learningRate: Double) {
    step += 1
    for (i, g) in gradients.enumerated() {
      moments.first[i] = (1 - beta1) * g + beta1 * moments.first[i]
      moments.second[i] = (1 - beta2) * g * g + beta2 * moments.second[i]
      let m = moments.first[i] / (1 - pow(beta1, Double(step + 1)))
      let v = moments.second[i] / (1 - pow(beta2, Double(step + 1)))
      weights[i] = (1 - weightDecay) * weights[i] - learningRate * m / (v.squareRoot() + epsilon)
    }
  }
}
