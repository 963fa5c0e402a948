import Tensors

extension ModelGraph {
  /// Fills parameters and running statistics as Trax does, each tensor from its own random stream.
  ///
  /// Convolution weights are normal with variance 2 / (C + K): "Glorot normal" without the receptive field, as
  /// trax/layers/initializers.py has it. Dense weights are uniform within ±sqrt(6 / (inputs + outputs)), biases normal
  /// with standard deviation 1e-6, scales 1, shifts 0, running means 0 and variances 1.
  ///
  /// - Parameters:
  ///   - parameters: A store of ``parameterLayout``.
  ///   - statistics: A store of ``statisticsLayout``.
  ///   - seed: The run's seed; one seed gives the same values on every machine.
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
