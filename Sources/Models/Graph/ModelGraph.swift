import Tensors

/// A model as data: the operations in forward order, the tensors between them, and the parameters that they read.
///
/// A family of models is a function that builds a graph, such as ``TraxWideResNet``. The backward pass, the memory, the
/// byte counts and the trace labels are all derived from the graph; no other code knows a family.
public struct ModelGraph: Sendable {
  /// The customary name, for example `WRN-22-1`.
  public let name: String
  /// The trained tensors, in the flat order in which the builder declared them.
  public let parameterLayout: ParameterLayout
  /// The running statistics of the batch normalizations, in the same order.
  public let statisticsLayout: ParameterLayout
  /// The images that the model classifies.
  package let image: GraphTensor
  /// All activations: the image first, then every operation's output.
  package let tensors: [GraphTensor]
  /// The operations in forward order; the last one is the classifier.
  package let operations: [Operation]
  /// The convolutions in the order of their parameters.
  package let convolutionLayers: [ConvolutionLayer]
  /// The batch normalizations in the order of their parameters.
  package let normalizationLayers: [NormalizationLayer]
  /// The dropouts in the order of the operations that read through them.
  package let dropoutLayers: [DropoutLayer]
  /// The last operation.
  package let classifier: ClassifierOperation
}

/// An activation of a ``ModelGraph``: `HWC` per image, raw, which means before any batch normalization.
package struct GraphTensor: Hashable, Sendable {
  /// The number of tensors before this one.
  package let index: Int
  /// The name of the operation that writes it, or `images`.
  package let name: String
  package let height: Int
  package let width: Int
  package let channels: Int

  /// The number of elements per image.
  package var elementCount: Int { height * width * channels }
}

/// How an operation reads a tensor: raw, or through batch normalization, ReLU and perhaps dropout.
///
/// z = max(0, scale·x + shift) is computed while x is read; no normalized tensor is ever stored. In training, dropout
/// multiplies z by 0 or 1/(1 − p).
package struct Operand: Sendable {
  package let tensor: GraphTensor
  package let normalization: NormalizationLayer?
  package private(set) var dropout: DropoutLayer?

  /// Creates an operand without dropout.
  init(tensor: GraphTensor, normalization: NormalizationLayer?) {
    self.tensor = tensor
    self.normalization = normalization
  }

  /// Returns this operand with dropout.
  func dropping(_ layer: DropoutLayer) -> Operand {
    var result = self
    result.dropout = layer
    return result
  }
}

/// A step of the forward pass that writes one tensor, or ends in the loss.
package enum Operation: Sendable {
  case convolution(ConvolutionOperation)
  case scaling(ScalingOperation)
  case classifier(ClassifierOperation)
}

/// output = conv(input) + bias (+ addend): a residual connection is an addend.
package struct ConvolutionOperation: Sendable {
  package let layer: ConvolutionLayer
  package let input: Operand
  package let addend: GraphTensor?
  package let output: GraphTensor
}

/// output = factor · input, for a residual connection whose branch is empty: y + y = 2·y.
package struct ScalingOperation: Sendable {
  package let input: GraphTensor
  /// A power of two: statistics of the output are then those of the input, scaled exactly.
  package let factor: Float
  package let output: GraphTensor
}

/// Batch normalization, ReLU, global average pooling, dense layer, softmax cross entropy.
package struct ClassifierOperation: Sendable {
  package let layer: DenseLayer
  package let input: Operand
}

extension Operation {
  /// The tensor that the operation writes; `nil` for the classifier.
  package var output: GraphTensor? {
    switch self {
    case .convolution(let operation): operation.output
    case .scaling(let operation): operation.output
    case .classifier: nil
    }
  }

  /// What the operation reads as its main input, and how.
  package var input: Operand {
    switch self {
    case .convolution(let operation): operation.input
    case .scaling(let operation): Operand(tensor: operation.input, normalization: nil)
    case .classifier(let operation): operation.input
    }
  }

  /// The elements of the operation's own parameters; those of a normalization are the operand's.
  package var parameterRange: Range<Int> {
    switch self {
    case .convolution(let operation): operation.layer.range
    case .scaling: 0..<0
    case .classifier(let operation): operation.layer.range
    }
  }
}

extension ModelGraph {
  /// Rows and columns of an input image.
  public var imageSize: Int { image.height }
  /// Color channels of an input image.
  public var imageChannels: Int { image.channels }
  /// The number of classes.
  public var classCount: Int { classifier.layer.outputs }

  /// The number of trained parameters, for example 295,866 for Trax's WRN-22-1.
  public var parameterCount: Int { parameterLayout.elementCount }

  /// The number of batch normalizations.
  public var normalizationCount: Int { normalizationLayers.count }

  /// The convolutions in the order of their parameters.
  public var convolutions: [ConvolutionGeometry] { convolutionLayers.map(\.geometry) }

  /// Multiply-adds of the convolutions of one image's forward pass.
  public var multiplyAdds: Int { convolutions.reduce(0) { $0 + $1.multiplyAdds } }

  /// The batch normalization that needs the statistics of a tensor.
  ///
  /// Statistics pass through a scaling: the operation that writes its input computes the sums.
  func normalization(of tensor: GraphTensor) -> NormalizationLayer? {
    for operation in operations where operation.input.tensor == tensor {
      if let norm = operation.input.normalization { return norm }
      if case .scaling(let scaling) = operation { return normalization(of: scaling.output) }
    }
    return nil
  }
}
