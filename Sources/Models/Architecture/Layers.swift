import Tensors

/// A convolution's shape and where its parameters lie.
struct ConvolutionLayer: Sendable {
  /// The number of convolutions laid out before this one.
  let index: Int
  let geometry: ConvolutionGeometry
  let weight: Parameter
  let bias: Parameter?

  /// The elements of kernel and bias, which follow one another.
  var range: Range<Int> { weight.range.lowerBound..<(bias ?? weight).range.upperBound }
}

/// A batch normalisation's width and where its parameters and running statistics lie.
struct NormalizationLayer: Sendable {
  /// The number of batch normalisations before this one.
  let index: Int
  let channels: Int
  let shift: Parameter
  let scale: Parameter
  let runningMean: Parameter
  let runningVariance: Parameter

  /// The elements of shift and scale, which follow one another.
  var range: Range<Int> { shift.range.lowerBound..<scale.range.upperBound }
  /// The elements of running mean and variance, which follow one another.
  var statisticsRange: Range<Int> {
    runningMean.range.lowerBound..<runningVariance.range.upperBound
  }
}

/// A dense layer's extents and where its parameters lie.
struct DenseLayer: Sendable {
  let inputs: Int
  let outputs: Int
  let weight: Parameter
  let bias: Parameter

  /// The elements of kernel and bias, which follow one another.
  var range: Range<Int> { weight.range.lowerBound..<bias.range.upperBound }
}

/// BN, ReLU, 3×3 convolution, BN, ReLU, 3×3 convolution.
struct ResidualBlock: Sendable {
  let norm1: NormalizationLayer
  let conv1: ConvolutionLayer
  let norm2: NormalizationLayer
  let conv2: ConvolutionLayer
}

/// Trax's group: y = shortcut(x) + block₀(x), then z = y + blockₙ₋₁(… block₁(y)).
///
/// With a single block the second sum has nothing in series and z = 2·y.
struct ResidualGroup: Sendable {
  let shortcut: ConvolutionLayer
  let blocks: [ResidualBlock]
}

/// Collects parameters in Trax's flat order while layers are made.
struct LayerBuilder {
  private(set) var parameters = ParameterLayout()
  private(set) var statistics = ParameterLayout()
  private var normalizationCount = 0
  private var convolutionCount = 0

  /// Appends a 3×3 convolution with bias on a square image of `size` pixels a side.
  mutating func convolution(
    _ name: String, size: Int, from inputs: Int, to outputs: Int, stride: Int = 1
  ) -> ConvolutionLayer {
    let geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs,
      kernelSize: 3, stride: stride)
    let weight = parameters.append(
      "\(name).weight", .convolutionWeight, Shape(3, 3, inputs, outputs))
    let bias = parameters.append("\(name).bias", .bias, Shape(outputs))
    defer { convolutionCount += 1 }
    return ConvolutionLayer(
      index: convolutionCount, geometry: geometry, weight: weight, bias: bias)
  }

  /// Appends a batch normalisation.
  mutating func normalization(_ name: String, channels: Int) -> NormalizationLayer {
    defer { normalizationCount += 1 }
    return NormalizationLayer(
      index: normalizationCount, channels: channels,
      shift: parameters.append("\(name).bias", .shift, Shape(channels)),
      scale: parameters.append("\(name).weight", .scale, Shape(channels)),
      runningMean: statistics.append("\(name).running_mean", .runningMean, Shape(channels)),
      runningVariance: statistics.append("\(name).running_var", .runningVariance, Shape(channels)))
  }

  /// Appends a dense layer.
  mutating func dense(_ name: String, from inputs: Int, to outputs: Int) -> DenseLayer {
    DenseLayer(
      inputs: inputs, outputs: outputs,
      weight: parameters.append("\(name).weight", .denseWeight, Shape(inputs, outputs)),
      bias: parameters.append("\(name).bias", .bias, Shape(outputs)))
  }

  /// Appends a group whose first block changes width and resolution.
  mutating func residualGroup(
    _ name: String, size: Int, from inputs: Int, to outputs: Int, stride: Int, blocks: Int
  ) -> ResidualGroup {
    let shortcut = convolution(
      "\(name).shortcut", size: size, from: inputs, to: outputs, stride: stride)
    let blocks = (0..<blocks).map { b in
      let name = "\(name).blocks.\(b)"
      let first = b == 0
      let norm1 = normalization("\(name).norm1", channels: first ? inputs : outputs)
      let conv1 = convolution(
        "\(name).conv1", size: first ? size : size / stride, from: first ? inputs : outputs,
        to: outputs, stride: first ? stride : 1)
      let norm2 = normalization("\(name).norm2", channels: outputs)
      let conv2 = convolution("\(name).conv2", size: size / stride, from: outputs, to: outputs)
      return ResidualBlock(norm1: norm1, conv1: conv1, norm2: norm2, conv2: conv2)
    }
    return ResidualGroup(shortcut: shortcut, blocks: blocks)
  }
}
