import Tensors

/// The distributions of a network's initial values.
public struct Initialization: Sendable, Hashable {
  /// The distributions of weights and biases.
  public enum Weights: String, Sendable, Codable, CaseIterable {
    /// Trax's: convolutions normal with variance 2 / (C + K), which is "Glorot normal" without the receptive field, dense
    /// layers uniform within ±√(6 / (inputs + outputs)), biases normal with standard deviation 1e-6
    /// (trax/layers/initializers.py).
    case trax
    /// The paper's: convolutions normal with variance 2 / (R·S·C) (He et al., arXiv 1502.01852, equation 10), dense layers
    /// uniform within ±1 / √inputs (Torch's default), biases 0.
    case fanIn = "fan-in"
    /// Like ``fanIn``, with variance 2 / (R·S·K) (the same, equation 14).
    case fanOut = "fan-out"
  }

  /// The initial scales of batch normalizations.
  public enum Scale: String, Sendable, Codable, CaseIterable {
    /// 1, as in PyTorch and Trax.
    case one
    /// Uniform within [0, 1), as in Torch and so in the paper.
    case uniform
  }

  /// The distributions of weights and biases.
  public var weights: Weights
  /// The initial scales of batch normalizations.
  public var scale: Scale

  /// Creates a choice of distributions; by default Trax's.
  public init(weights: Weights = .trax, scale: Scale = .one) {
    self.weights = weights
    self.scale = scale
  }
}

extension ModelGraph {
  /// Fills parameters and running statistics, each tensor from its own random stream.
  ///
  /// Shifts are 0, running means 0 and running variances 1.
  ///
  /// - Parameters:
  ///   - parameters: A store of ``parameterLayout``.
  ///   - statistics: A store of ``statisticsLayout``.
  ///   - seed: The run's seed; one seed gives the same values on every machine.
  ///   - initialization: The distributions.
  public func initialize(
    _ parameters: ParameterStore, _ statistics: ParameterStore, seed: UInt64,
    _ initialization: Initialization = Initialization()
  ) {
    for parameter in parameterLayout.parameters + statisticsLayout.parameters {
      let isStatistic = statisticsLayout[parameter.name] != nil
      let values = (isStatistic ? statistics : parameters)[parameter]
      let stream = RandomStream(seed: seed, purpose: "initial \(parameter.name)")
      switch parameter.kind {
      case .convolutionWeight:
        stream.fillNormal(
          values, standardDeviation: initialization.convolutionVariance(parameter.shape).squareRoot())
      case .denseWeight: stream.fillUniform(values, limit: initialization.denseLimit(parameter.shape))
      case .bias:
        if initialization.weights == .trax {
          stream.fillNormal(values, standardDeviation: 1e-6)
        } else {
          values.update(repeating: 0)
        }
      case .scale:
        if initialization.scale == .uniform {
          for i in values.indices { values[i] = Float(stream.uniform(UInt64(i))) }
        } else {
          values.update(repeating: 1)
        }
      case .runningVariance: values.update(repeating: 1)
      case .shift, .runningMean: values.update(repeating: 0)
      }
    }
  }
}

extension Initialization {
  /// The variance of a convolution's weight, `RSCK`.
  fileprivate func convolutionVariance(_ shape: Shape) -> Double {
    switch weights {
    case .trax: 2 / Double(shape[2] + shape[3])
    case .fanIn: 2 / Double(shape[0] * shape[1] * shape[2])
    case .fanOut: 2 / Double(shape[0] * shape[1] * shape[3])
    }
  }

  /// The largest value of a dense layer's weight, `[inputs, outputs]`.
  fileprivate func denseLimit(_ shape: Shape) -> Double {
    switch weights {
    case .trax: (6 / Double(shape[0] + shape[1])).squareRoot()
    case .fanIn, .fanOut: 1 / Double(shape[0]).squareRoot()
    }
  }
}
