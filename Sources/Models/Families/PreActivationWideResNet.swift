/// The Wide ResNet of the paper (Zagoruyko and Komodakis, arXiv 1605.07146, table 1, and their released code).
///
/// Blocks are pre-activated: batch normalization and ReLU come before every convolution. One skip connection spans each
/// block. Where a block changes the width, its first BN-ReLU is shared: the skip is a 1×1 convolution of what the first
/// convolution reads. Convolutions have no biases and symmetric padding, and the first one of a block has its stride.
public enum PreActivationWideResNet {
  /// Builds the graph for square color images.
  ///
  /// - Parameters:
  ///   - configuration: Depth, width, block, dropout and classes.
  ///   - imageSize: Rows and columns of an image, a multiple of 4.
  /// - Returns: The graph; in a block, the shortcut's parameters precede the first convolution's.
  public static func graph(_ configuration: WideResNetConfiguration, imageSize: Int = 32) -> ModelGraph {
    var builder = GraphBuilder(imageSize: imageSize, imageChannels: 3, padding: .symmetric)
    let widths = configuration.widths
    var x = builder.convolution("stem", builder.raw(builder.image), channels: widths[0], hasBias: false)
    for g in 0..<3 {
      for b in 0..<configuration.blocksPerGroup {
        x = builder.block(
          "groups.\(g).blocks.\(b)", x, channels: widths[g + 1], stride: g > 0 && b == 0 ? 2 : 1, configuration)
      }
    }
    return builder.classifier(
      "head", builder.normalized("norm", x), classes: configuration.classCount, model: configuration.name)
  }
}

extension GraphBuilder {
  /// skip(x) + convₙ(… conv₁(x)), each convolution after its own BN-ReLU, the last one also after dropout.
  fileprivate mutating func block(
    _ name: String, _ x: GraphTensor, channels: Int, stride: Int, _ configuration: WideResNetConfiguration
  ) -> GraphTensor {
    let input = normalized("\(name).norm1", x)
    let shortcut =
      x.channels == channels
      ? nil
      : convolutionLayer(
        "\(name).shortcut", reading: x, channels: channels, kernelSize: 1, stride: stride, hasBias: false)
    let last = configuration.block.count - 1
    var (y, skip) = (x, x)
    for (i, kernelSize) in configuration.block.enumerated() {
      var operand = i == 0 ? input : normalized("\(name).norm\(i + 1)", y)
      if i == last { operand = dropped(operand, "\(name).dropout", probability: configuration.dropout) }
      // Computed after the first convolution, the shortcut hides the exchange of the next norm's statistics.
      if let shortcut, i == min(1, last) { skip = convolution(shortcut, input) }
      y = convolution(
        "\(name).conv\(i + 1)", operand, channels: channels, kernelSize: kernelSize, stride: i == 0 ? stride : 1,
        hasBias: false, adding: i == last ? skip : nil)
    }
    return y
  }
}
