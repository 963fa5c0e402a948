import Tensors

/// Trax's WideResnet from the definitions, forward and backward over a whole batch, in Double.
///
/// It is slow and meant to be read: the specification that the fast network is tested against, element by element. It
/// does not know model graphs, so that it can also test the graph of this family.
public struct ReferenceWideResNet {
  /// The tensors by PyTorch's names, in memory layout: kernels `RSCK`, dense kernels `[inputs, outputs]`.
  public typealias Tensors = [String: [Double]]

  /// What a pass over a batch finds.
  public struct Result {
    /// `[N, 10]`.
    public let logits: [Double]
    /// The mean cross entropy.
    public let loss: Double
    /// The gradient of the loss with respect to every parameter.
    public let gradients: Tensors
    /// The batch's mean and biased variance of every batch normalization.
    public let statistics: [String: ReferenceBatchNormalization]
  }

  private let blocks: Int
  private let widths: [Int]

  /// Describes the network of depth 6·`blocks` + 4 and width k.
  public init(blocks: Int, widenFactor k: Int) {
    self.blocks = blocks
    widths = [16, 16 * k, 32 * k, 64 * k]
  }

  /// Computes loss, logits and every gradient.
  ///
  /// - Parameters:
  ///   - images: `NHWC`, 32×32×3, raw pixels.
  ///   - labels: A class an image.
  ///   - parameters: All parameters.
  ///   - running: Statistics to use in place of the batch's; gradients mean nothing then.
  /// - Returns: What the pass finds.
  public func callAsFunction(
    _ images: [Double], labels: [Int], _ parameters: Tensors,
    running: [String: ReferenceBatchNormalization]? = nil
  ) -> Result {
    var tape = AutogradTape(parameters: parameters, running: running)
    var x = convolution("stem", tape.constant(images), size: 32, from: 3, to: widths[0], stride: 1, &tape)
    var size = 32
    for g in 0..<3 {
      let stride = g == 0 ? 1 : 2
      x = group("groups.\(g)", x, size: size, from: widths[g], to: widths[g + 1], stride, &tape)
      size /= stride
    }
    x = tape.normalizedReLU("norm", x, channels: widths[3])
    let features = tape.averagePool(x, pixels: size * size, channels: widths[3])
    let logits = tape.dense("head", features, outputs: 10)
    let (loss, gradient) = ReferenceClassifier.crossEntropy(logits.values, labels: labels)
    return Result(
      logits: logits.values, loss: loss, gradients: tape.backward(from: logits, gradient),
      statistics: tape.statistics)
  }

  /// y = shortcut(x) + block₀(x), then z = y + blockₙ₋₁(… block₁(y)).
  private func group(
    _ name: String, _ x: AutogradTape.Value, size: Int, from inputs: Int, to outputs: Int, _ stride: Int,
    _ tape: inout AutogradTape
  ) -> AutogradTape.Value {
    let shortcut = convolution(
      "\(name).shortcut", x, size: size, from: inputs, to: outputs, stride: stride, &tape)
    let first = block(
      "\(name).blocks.0", x, size: size, from: inputs, to: outputs, stride, &tape)
    let y = tape.sum(shortcut, first)
    var z = y
    for b in 1..<max(blocks, 1) {
      z = block(
        "\(name).blocks.\(b)", z, size: size / stride, from: outputs, to: outputs, 1, &tape)
    }
    return tape.sum(y, z)
  }

  private func block(
    _ name: String, _ x: AutogradTape.Value, size: Int, from inputs: Int, to outputs: Int, _ stride: Int,
    _ tape: inout AutogradTape
  ) -> AutogradTape.Value {
    var value = tape.normalizedReLU("\(name).norm1", x, channels: inputs)
    value = convolution(
      "\(name).conv1", value, size: size, from: inputs, to: outputs, stride: stride, &tape)
    value = tape.normalizedReLU("\(name).norm2", value, channels: outputs)
    return convolution(
      "\(name).conv2", value, size: size / stride, from: outputs, to: outputs, stride: 1, &tape)
  }

  /// A 3×3 convolution of a square image.
  private func convolution(
    _ name: String, _ x: AutogradTape.Value, size: Int, from inputs: Int, to outputs: Int, stride: Int,
    _ tape: inout AutogradTape
  ) -> AutogradTape.Value {
    let geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs, kernelSize: 3,
      stride: stride)
    return tape.convolution(name, x, geometry)
  }
}
