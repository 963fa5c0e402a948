/// The definition of batch normalisation (Ioffe and Szegedy, arXiv:1502.03167, algorithm 1) in plain loops, in Double.
///
/// Activations are `[…, C]`: the channel is the last index.
public struct ReferenceBatchNormalization {
  /// Trax's default, inside the root.
  public static let epsilon = 1e-5

  /// The mean of each channel.
  public let mean: [Double]
  /// The biased variance of each channel.
  public let variance: [Double]

  /// Uses given statistics.
  public init(mean: [Double], variance: [Double]) {
    self.mean = mean
    self.variance = variance
  }

  /// Takes the statistics of a batch.
  public init(of x: [Double], channels: Int) {
    let count = Double(x.count / channels)
    var mean = [Double](repeating: 0, count: channels)
    for (i, value) in x.enumerated() { mean[i % channels] += value / count }
    var variance = [Double](repeating: 0, count: channels)
    for (i, value) in x.enumerated() {
      let deviation = value - mean[i % channels]
      variance[i % channels] += deviation * deviation / count
    }
    self.init(mean: mean, variance: variance)
  }

  /// Returns (x − mean) / √(variance + ε).
  public func normalized(_ x: [Double]) -> [Double] {
    x.enumerated().map { i, value in
      let c = i % mean.count
      return (value - mean[c]) / (variance[c] + Self.epsilon).squareRoot()
    }
  }

  /// Returns scale · normalized(x) + shift.
  public func forward(_ x: [Double], scale: [Double], shift: [Double]) -> [Double] {
    normalized(x).enumerated().map { i, value in
      scale[i % scale.count] * value + shift[i % shift.count]
    }
  }

  /// Returns the gradients of x, scale and shift, where the statistics are those of x.
  public func backward(
    _ x: [Double], scale: [Double], outputGradient: [Double]
  ) -> (input: [Double], scale: [Double], shift: [Double]) {
    let channels = mean.count
    let count = Double(x.count / channels)
    let z = normalized(x)
    var dScale = [Double](repeating: 0, count: channels)
    var dShift = [Double](repeating: 0, count: channels)
    for (i, gradient) in outputGradient.enumerated() {
      dScale[i % channels] += gradient * z[i]
      dShift[i % channels] += gradient
    }
    let dX = outputGradient.enumerated().map { i, gradient in
      let c = i % channels
      let centred = gradient - dShift[c] / count - z[i] * dScale[c] / count
      return scale[c] * centred / (variance[c] + Self.epsilon).squareRoot()
    }
    return (dX, dScale, dShift)
  }
}
