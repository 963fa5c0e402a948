import Tensors

/// A convolution's geometry and the location of its parameters.
package struct ConvolutionLayer: Sendable {
  /// The number of convolutions declared before this one.
  package let index: Int
  /// For example `groups.0.blocks.0.conv1`: its parameters' names without the last part.
  package let name: String
  package let geometry: ConvolutionGeometry
  package let weight: Parameter
  package let bias: Parameter?

  /// The elements of weight and bias, which are adjacent.
  package var range: Range<Int> { weight.range.lowerBound..<(bias ?? weight).range.upperBound }
}

/// A batch normalization's width and the location of its parameters and running statistics.
package struct NormalizationLayer: Sendable {
  /// The number of batch normalizations declared before this one.
  package let index: Int
  package let channels: Int
  /// H·W of the tensor that it normalizes.
  package let pixels: Int
  package let shift: Parameter
  package let scale: Parameter
  package let runningMean: Parameter
  package let runningVariance: Parameter

  /// The elements of shift and scale, which are adjacent.
  package var range: Range<Int> { shift.range.lowerBound..<scale.range.upperBound }
  /// The elements of running mean and variance, which are adjacent.
  package var statisticsRange: Range<Int> {
    runningMean.range.lowerBound..<runningVariance.range.upperBound
  }
}

/// A dropout of one operand (Srivastava et al., JMLR 15, 2014): its probability and the size of its masks.
package struct DropoutLayer: Sendable {
  /// The number of dropouts before this one.
  package let index: Int
  /// For example `groups.0.blocks.0.dropout`: the purpose of its random numbers.
  package let name: String
  /// p, the probability that an element is dropped, in (0, 1).
  package let probability: Double
  /// H·W·C of the tensor that it drops elements of.
  package let elementCount: Int
}

/// A dense layer's extents and the location of its parameters.
package struct DenseLayer: Sendable {
  /// For example `head`.
  package let name: String
  package let inputs: Int
  package let outputs: Int
  package let weight: Parameter
  package let bias: Parameter

  /// The elements of weight and bias, which are adjacent.
  package var range: Range<Int> { weight.range.lowerBound..<bias.range.upperBound }
}
