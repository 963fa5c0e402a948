import Tensors

/// A convolution's geometry and the location of its parameters.
struct ConvolutionLayer: Sendable {
  /// The number of convolutions declared before this one.
  let index: Int
  /// For example `groups.0.blocks.0.conv1`: its parameters' names without the last part.
  let name: String
  let geometry: ConvolutionGeometry
  let weight: Parameter
  let bias: Parameter?

  /// The elements of weight and bias, which are adjacent.
  var range: Range<Int> { weight.range.lowerBound..<(bias ?? weight).range.upperBound }
}

/// A batch normalization's width and the location of its parameters and running statistics.
struct NormalizationLayer: Sendable {
  /// The number of batch normalizations declared before this one.
  let index: Int
  let channels: Int
  /// H·W of the tensor that it normalizes.
  let pixels: Int
  let shift: Parameter
  let scale: Parameter
  let runningMean: Parameter
  let runningVariance: Parameter

  /// The elements of shift and scale, which are adjacent.
  var range: Range<Int> { shift.range.lowerBound..<scale.range.upperBound }
  /// The elements of running mean and variance, which are adjacent.
  var statisticsRange: Range<Int> {
    runningMean.range.lowerBound..<runningVariance.range.upperBound
  }
}

/// A dense layer's extents and the location of its parameters.
struct DenseLayer: Sendable {
  /// For example `head`.
  let name: String
  let inputs: Int
  let outputs: Int
  let weight: Parameter
  let bias: Parameter

  /// The elements of weight and bias, which are adjacent.
  var range: Range<Int> { weight.range.lowerBound..<bias.range.upperBound }
}
