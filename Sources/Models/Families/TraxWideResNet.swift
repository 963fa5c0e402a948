/// Trax's `WideResnet` (trax/models/resnet.py): the Wide ResNet whose published curves this project reproduces.
///
/// It differs from the paper's network in three ways. Convolutions have biases. The shortcut of a group is a 3×3
/// convolution of the group's raw input. One identity skip covers all later blocks of a group, instead of one each.
public enum TraxWideResNet {
  /// Builds the graph for square color images.
  ///
  /// The flat parameter order is Trax's: stem; per group shortcut, then blocks; final norm; head.
  ///
  /// - Parameters:
  ///   - configuration: Depth, width, dropout and classes.
  ///   - imageSize: Rows and columns of an image, a multiple of 4.
  /// - Returns: The graph.
  public static func graph(_ configuration: WideResNetConfiguration, imageSize: Int = 32) -> ModelGraph {
    var builder = GraphBuilder(imageSize: imageSize, imageChannels: 3)
    let widths = configuration.widths
    var x = builder.convolution("stem", builder.raw(builder.image), channels: widths[0])
    for g in 0..<3 {
      x = builder.group(
        "groups.\(g)", x, channels: widths[g + 1], stride: g == 0 ? 1 : 2, configuration)
    }
    return builder.classifier(
      "head", builder.normalized("norm", x), classes: configuration.classCount, model: configuration.name)
  }
}

extension GraphBuilder {
  /// y = shortcut(x) + block₀(x), then z = y + blockₙ₋₁(… block₁(y)).
  ///
  /// With a single block the second sum has an empty branch and z = y + y.
  fileprivate mutating func group(
    _ name: String, _ x: GraphTensor, channels: Int, stride: Int, _ configuration: WideResNetConfiguration
  ) -> GraphTensor {
    let (blocks, dropout) = (configuration.blocksPerGroup, configuration.dropout)
    let shortcut = convolutionLayer("\(name).shortcut", reading: x, channels: channels, stride: stride)
    let branch = firstHalf("\(name).blocks.0", x, channels: channels, stride: stride, dropout: dropout)
    // Computed here, the shortcut hides the exchange of norm2's statistics, which it does not read.
    let skip = convolution(shortcut, raw(x))
    let y = convolution("\(name).blocks.0.conv2", branch, channels: channels, adding: skip)
    if blocks == 1 { return scaled(y, by: 2) }
    var z = y
    for b in 1..<blocks {
      let branch = firstHalf("\(name).blocks.\(b)", z, channels: channels, stride: 1, dropout: dropout)
      z = convolution("\(name).blocks.\(b).conv2", branch, channels: channels, adding: b == blocks - 1 ? y : nil)
    }
    return z
  }

  /// BN-ReLU, 3×3 convolution, and the BN-ReLU through which the block's second convolution reads it.
  private mutating func firstHalf(
    _ block: String, _ x: GraphTensor, channels: Int, stride: Int, dropout: Double
  ) -> Operand {
    let inner = convolution("\(block).conv1", normalized("\(block).norm1", x), channels: channels, stride: stride)
    return dropped(normalized("\(block).norm2", inner), "\(block).dropout", probability: dropout)
  }
}
