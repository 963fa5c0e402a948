/// What the forward and the backward pass of one convolution give.
public struct ConvolutionResults<Element: Sendable>: Sendable {
  /// y, `NPQK`.
  public var output: [Element]
  /// Σy and Σy² per filter.
  public var outputSums: [Element]
  /// g′ or dX, `NHWC`; empty for the stem, whose input is the image.
  public var inputGradient: [Element]
  /// Σg′ and Σg′·(x − mean) per channel; empty for the stem.
  public var inputGradientSums: [Element]
  /// dW, `RSCK`.
  public var weightGradient: [Element]
  /// The sum of dY per filter.
  public var biasGradient: [Element]

  /// The tensors by the name of the operation that made them.
  public var byOperation: [(operation: Operation, values: [Element])] {
    [
      (.forward, output), (.forwardSums, outputSums), (.inputGradient, inputGradient),
      (.inputGradientSums, inputGradientSums), (.weightGradient, weightGradient),
      (.biasGradient, biasGradient),
    ].filter { !$0.1.isEmpty }
  }
}

/// What a convolution's passes compute.
public enum Operation: String, Sendable, CaseIterable {
  /// y.
  case forward
  /// Sums over y for the batch normalisation that follows.
  case forwardSums = "forward sums"
  /// g′ or dX.
  case inputGradient = "input gradient"
  /// Sums over g′ for the batch normalisation before.
  case inputGradientSums = "input gradient sums"
  /// dW.
  case weightGradient = "weight gradient"
  /// The sum of dY.
  case biasGradient = "bias gradient"
}

extension ConvolutionResults<Float> {
  /// The error of every tensor.
  public func errors(
    against exact: ConvolutionResults<Double>
  ) -> [(operation: Operation, error: ApproximationError)] {
    zip(byOperation, exact.byOperation).map { found, exact in
      (found.operation, ApproximationError(found.values, exact: exact.values))
    }
  }
}
