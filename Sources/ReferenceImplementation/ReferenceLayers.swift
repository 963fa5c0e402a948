import Foundation

/// The reference implementation of batch norm (Ioffe and Szegedy, arXiv:1502.03167, algorithm 1), in Double.
///
/// Activations are `[…, C]`: the channel is the last index.
public struct ReferenceBatchNormalization {
  /// Trax's default, added to the variance.
  public static let epsilon = 1e-5

  /// The mean per channel.
  public let mean: [Double]
  /// The biased variance per channel.
  public let variance: [Double]

  /// Creates a batch norm with given statistics.
  public init(mean: [Double], variance: [Double]) {
    self.mean = mean
    self.variance = variance
  }

  /// Computes the statistics of a batch.
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

  /// Returns the gradients with respect to x, scale and shift, where the statistics are those of x.
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
      let centerd = gradient - dShift[c] / count - z[i] * dScale[c] / count
      return scale[c] * centerd / (variance[c] + Self.epsilon).squareRoot()
    }
    return (dX, dScale, dShift)
  }
}

/// The reference implementation of the classifier head: pooling, dense layer and loss, in Double.
public enum ReferenceClassifier {
  /// Returns the mean per image and channel, `NHWC` to `NC`.
  public static func averagePool(_ x: [Double], pixels: Int, channels: Int) -> [Double] {
    var y = [Double](repeating: 0, count: x.count / pixels)
    for (i, value) in x.enumerated() {
      y[i / (pixels * channels) * channels + i % channels] += value / Double(pixels)
    }
    return y
  }

  /// Returns the gradient with respect to the pixels, given that with respect to the means.
  public static func averagePoolBackward(
    _ outputGradient: [Double], pixels: Int, channels: Int
  ) -> [Double] {
    (0..<outputGradient.count * pixels).map { i in
      outputGradient[i / (pixels * channels) * channels + i % channels] / Double(pixels)
    }
  }

  /// Returns x·W + b, `[N, inputs]` to `[N, outputs]`; W is `[inputs, outputs]`.
  public static func dense(_ x: [Double], weight: [Double], bias: [Double]) -> [Double] {
    let inputs = weight.count / bias.count
    return (0..<x.count / inputs * bias.count).map { i in
      let (n, k) = (i / bias.count, i % bias.count)
      return (0..<inputs).reduce(bias[k]) { $0 + x[n * inputs + $1] * weight[$1 * bias.count + k] }
    }
  }

  /// Returns the gradients with respect to a dense layer's input, weight and bias.
  public static func denseBackward(
    _ x: [Double], weight: [Double], outputGradient: [Double], outputs: Int
  ) -> (input: [Double], weight: [Double], bias: [Double]) {
    let inputs = weight.count / outputs
    var dX = [Double](repeating: 0, count: x.count)
    var dW = [Double](repeating: 0, count: weight.count)
    var dB = [Double](repeating: 0, count: outputs)
    for n in 0..<x.count / inputs {
      for k in 0..<outputs {
        let gradient = outputGradient[n * outputs + k]
        dB[k] += gradient
        for c in 0..<inputs {
          dX[n * inputs + c] += gradient * weight[c * outputs + k]
          dW[c * outputs + k] += gradient * x[n * inputs + c]
        }
      }
    }
    return (dX, dW, dB)
  }

  /// Returns the mean of −log softmax(logits)[label], and its gradient with respect to the logits.
  public static func crossEntropy(
    _ logits: [Double], labels: [Int]
  ) -> (loss: Double, gradient: [Double]) {
    let classes = logits.count / labels.count
    var loss = 0.0
    var gradient = [Double](repeating: 0, count: logits.count)
    for (n, label) in labels.enumerated() {
      let row = logits[n * classes..<(n + 1) * classes]
      let largest = row.max() ?? 0
      let sum = row.reduce(0) { $0 + exp($1 - largest) }
      loss += (log(sum) + largest - logits[n * classes + label]) / Double(labels.count)
      for k in 0..<classes {
        let probability = exp(logits[n * classes + k] - largest) / sum
        gradient[n * classes + k] = (probability - (k == label ? 1 : 0)) / Double(labels.count)
      }
    }
    return (loss, gradient)
  }
}
