import Tensors

/// A Wide Residual Network (Zagoruyko and Komodakis, arXiv 1605.07146) for 32×32 colour images: its layers, the names
/// and order of its parameters, and how they start.
///
/// It holds no memory and computes nothing: a ``ModelExecutor`` owns activations and runs it. The flat parameter order is
/// Trax's (stem; per group shortcut, then blocks; final norm; head; a norm's shift before its scale).
public struct WideResNet: Sendable {
  /// Which network.
  public let configuration: Configuration
  /// The trained tensors, in flat order.
  public let parameterLayout: ParameterLayout
  /// The running statistics of the batch normalisations, in the order of the norms.
  public let statisticsLayout: ParameterLayout
  let stem: ConvolutionLayer
  let groups: [ResidualGroup]
  let norm: NormalizationLayer
  let head: DenseLayer

  /// Lays out a network.
  public init(_ configuration: Configuration) {
    self.configuration = configuration
    var builder = LayerBuilder()
    stem = builder.convolution(
      "stem", size: Self.imageSize, from: Self.imageChannels, to: configuration.widths[0])
    var size = Self.imageSize
    var groups: [ResidualGroup] = []
    for g in 0..<3 {
      let stride = g == 0 ? 1 : 2
      groups.append(
        builder.residualGroup(
          "groups.\(g)", size: size, from: configuration.widths[g], to: configuration.widths[g + 1],
          stride: stride, blocks: configuration.blocksPerGroup))
      size /= stride
    }
    self.groups = groups
    norm = builder.normalization("norm", channels: configuration.widths[3])
    head = builder.dense("head", from: configuration.widths[3], to: Self.classCount)
    parameterLayout = builder.parameters
    statisticsLayout = builder.statistics
  }

  /// The number of trained numbers, for example 295,866 for WRN-22-1.
  public var parameterCount: Int { parameterLayout.elementCount }

  /// The convolutions in forward order.
  public var convolutions: [ConvolutionGeometry] { convolutionLayers.map(\.geometry) }

  /// Multiply-adds of the convolutions of one image's forward pass.
  public var multiplyAdds: Int { convolutions.reduce(0) { $0 + $1.multiplyAdds } }

  /// The elements of one image's largest activation.
  var largestActivationCount: Int { convolutions.map(\.outputCount).max() ?? 0 }

  /// Every convolution in forward order.
  var convolutionLayers: [ConvolutionLayer] {
    [stem]
      + groups.flatMap { group in [group.shortcut] + group.blocks.flatMap { [$0.conv1, $0.conv2] } }
  }
}

extension WideResNet {
  /// Fills parameters and running statistics as Trax does, each tensor from its own random stream.
  ///
  /// Convolution kernels are normal with variance 2 / (C + K): "Glorot normal" without the receptive field, as
  /// trax/layers/initializers.py has it. Dense kernels are uniform within ±sqrt(6 / (inputs + outputs)), biases normal
  /// with standard deviation 1e-6, scales 1, shifts 0, running means 0 and variances 1.
  ///
  /// - Parameters:
  ///   - parameters: A store of ``parameterLayout``.
  ///   - statistics: A store of ``statisticsLayout``.
  ///   - seed: The run's seed; one seed gives the same bits on every machine.
  public func initialize(_ parameters: ParameterStore, _ statistics: ParameterStore, seed: UInt64) {
    for parameter in parameterLayout.parameters + statisticsLayout.parameters {
      let isStatistic = statisticsLayout[parameter.name] != nil
      let values = (isStatistic ? statistics : parameters)[parameter]
      let stream = RandomStream(seed: seed, purpose: "initial \(parameter.name)")
      switch parameter.kind {
      case .convolutionWeight:
        let fans = Double(parameter.shape[2] + parameter.shape[3])
        stream.fillNormal(values, standardDeviation: (2 / fans).squareRoot())
      case .denseWeight:
        let fans = Double(parameter.shape[0] + parameter.shape[1])
        stream.fillUniform(values, limit: (6 / fans).squareRoot())
      case .bias: stream.fillNormal(values, standardDeviation: 1e-6)
      case .scale, .runningVariance: values.update(repeating: 1)
      case .shift, .runningMean: values.update(repeating: 0)
      }
    }
  }
}
