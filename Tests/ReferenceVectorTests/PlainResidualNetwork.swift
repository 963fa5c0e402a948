import Models

/// A residual network with an identity skip for every block: what a new family takes.
///
/// Where a block changes the shape, a 3×3 convolution of its raw input takes the skip's place.
enum PlainResidualNetwork {
  /// Builds the graph of depth 6·`blocks` + 4 and width k.
  static func graph(blocks: Int, widenFactor k: Int) -> ModelGraph {
    var builder = GraphBuilder(imageSize: 32, imageChannels: 3)
    var x = builder.convolution("stem", builder.raw(builder.image), channels: 16)
    for (g, channels) in [16 * k, 32 * k, 64 * k].enumerated() {
      for b in 0..<blocks {
        x = builder.plainBlock("groups.\(g).blocks.\(b)", x, channels: channels, stride: g > 0 && b == 0 ? 2 : 1)
      }
    }
    return builder.classifier("head", builder.normalized("norm", x), classes: 10, model: "plain-\(6 * blocks + 4)-\(k)")
  }
}

extension GraphBuilder {
  fileprivate mutating func plainBlock(_ name: String, _ x: GraphTensor, channels: Int, stride: Int) -> GraphTensor {
    let changesShape = stride > 1 || x.channels != channels
    let skip =
      changesShape
      ? convolution("\(name).shortcut", raw(x), channels: channels, stride: stride) : x
    let inner = convolution("\(name).conv1", normalized("\(name).norm1", x), channels: channels, stride: stride)
    return convolution("\(name).conv2", normalized("\(name).norm2", inner), channels: channels, adding: skip)
  }
}
