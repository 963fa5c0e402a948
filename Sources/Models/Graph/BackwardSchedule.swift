/// The backward pass as a list, derived from the forward operations in reverse.
///
/// The gradient of a tensor is the sum of its readers' contributions. The engines compute one fused form of it while
/// they read it: dY = (ca·g + cb·y + cc of the one batch normalization that reads y, or g) + (at most one addend).
/// Initialization traps, with the tensor's name, on a graph that needs more.
///
/// An exchange of a batch normalization's gradient sums starts when its reader is done and finishes right before the
/// gradient of the normalized tensor is read. At most one exchange is pending at a time.
package struct BackwardSchedule: Sendable {
  /// A step of the backward pass.
  package enum Step: Sendable {
    /// Leaves the gradient of the classifier's input, before batch normalization and after the ReLU mask.
    case classifier(ClassifierOperation, inputGradient: GradientValue)
    /// Leaves the gradient of the convolution's input; `nil` for the images.
    case convolution(ConvolutionOperation, outputGradient: TensorGradient, inputGradient: InputGradient?)
    case scaling(ScalingOperation, outputGradient: TensorGradient, inputGradient: GradientValue)
    case startNormalization(NormalizationLayer)
    case finishNormalization(NormalizationLayer)
    /// Sums the microbatches' gradients of an operation's parameters; after it they are ready.
    case reduceParameterGradients(Operation)
  }

  package let steps: [Step]
  /// Everything that needs memory in the backward pass.
  package let values: [GradientValue]

  /// Derives the schedule from a graph.
  package init(_ graph: ModelGraph) {
    var builder = Builder(graph)
    for operation in graph.operations.reversed() { builder.append(operation, image: graph.image) }
    builder.finishPending()
    steps = builder.steps
    values = builder.values
  }
}

/// A gradient of activations that is held in memory between two steps of the backward pass.
package struct GradientValue: Hashable, Sendable {
  /// The number of gradients before this one.
  package let index: Int
  /// The number of elements per image.
  package let elementCount: Int
}

/// The gradient that a convolution leaves of its input.
///
/// Several convolutions may read one tensor through one normalization. All but the last in backward order leave the
/// gradient of ReLU's output in the same memory. The last one adds its own, masks the sum, and forms the sums that the
/// normalization needs.
package struct InputGradient: Hashable, Sendable {
  package let value: GradientValue
  /// Whether the memory holds the contributions of other readers, to which this one is added.
  package let accumulates: Bool
  /// Whether it is the gradient of the ReLU's argument, masked; otherwise that of what the convolution read.
  package let isMasked: Bool
}

/// The terms of one tensor's gradient, before they are added.
package struct TensorGradient: Sendable {
  package let tensor: GraphTensor
  /// The gradient of the ReLU's argument, masked, if a normalization reads the tensor; otherwise that of the tensor.
  package fileprivate(set) var gradient: GradientValue
  package fileprivate(set) var normalization: NormalizationLayer?
  /// The contribution of a second reader.
  package fileprivate(set) var addend: GradientValue?
  /// Where the sum is saved, because a residual connection passes it on.
  package fileprivate(set) var saved: GradientValue?
}

extension BackwardSchedule {
  private struct Builder {
    var steps: [Step] = []
    var values: [GradientValue] = []
    private var gradients: [TensorGradient?]
    private var pending: NormalizationLayer?
    // Of every tensor, the readers through a normalization that are still to come, and what earlier ones left.
    private var normalizedReaderCounts: [Int]
    private var rectifiedGradients: [GradientValue?]

    init(_ graph: ModelGraph) {
      gradients = Array(repeating: nil, count: graph.tensors.count)
      rectifiedGradients = Array(repeating: nil, count: graph.tensors.count)
      normalizedReaderCounts = graph.tensors.map { tensor in
        graph.operations.count { $0.input.tensor == tensor && $0.input.normalization != nil }
      }
    }

    mutating func append(_ operation: Operation, image: GraphTensor) {
      switch operation {
      case .classifier(let operation):
        let target = value(operation.input.tensor)
        steps.append(.classifier(operation, inputGradient: target))
        contribute(target, to: operation.input)
      case .convolution(let operation):
        var gradient = gradient(of: operation.output)
        if let addend = operation.addend {
          // A plain gradient is passed on without a copy.
          if gradient.normalization != nil || gradient.addend != nil { gradient.saved = value(operation.output) }
          contribute(
            gradient.saved ?? gradient.gradient, to: Operand(tensor: addend, normalization: nil))
        }
        let target = operation.input.tensor == image ? nil : inputGradient(operation.input)
        steps.append(.convolution(operation, outputGradient: gradient, inputGradient: target))
        if let target, target.isMasked || operation.input.normalization == nil {
          contribute(target.value, to: operation.input)
        }
      case .scaling(let operation):
        let gradient = gradient(of: operation.output)
        let target = value(operation.input)
        steps.append(.scaling(operation, outputGradient: gradient, inputGradient: target))
        contribute(target, to: Operand(tensor: operation.input, normalization: nil))
      }
      if !operation.parameterRange.isEmpty { steps.append(.reduceParameterGradients(operation)) }
    }

    mutating func finishPending() {
      if let norm = pending { steps.append(.finishNormalization(norm)) }
      pending = nil
    }

    /// Plans the gradient that a convolution leaves of its input.
    private mutating func inputGradient(_ operand: Operand) -> InputGradient {
      let tensor = operand.tensor
      guard operand.normalization != nil else {
        return InputGradient(value: value(tensor), accumulates: false, isMasked: false)
      }
      let shared = rectifiedGradients[tensor.index]
      let target = shared ?? value(tensor)
      rectifiedGradients[tensor.index] = target
      normalizedReaderCounts[tensor.index] -= 1
      return InputGradient(
        value: target, accumulates: shared != nil, isMasked: normalizedReaderCounts[tensor.index] == 0)
    }

    private mutating func value(_ tensor: GraphTensor) -> GradientValue {
      let value = GradientValue(index: values.count, elementCount: tensor.elementCount)
      values.append(value)
      return value
    }

    /// Takes the gradient of a tensor all of whose readers are done.
    private mutating func gradient(of tensor: GraphTensor) -> TensorGradient {
      guard let gradient = gradients[tensor.index] else { preconditionFailure("nothing reads \(tensor.name)") }
      if let norm = gradient.normalization, norm.index == pending?.index { finishPending() }
      return gradient
    }

    private mutating func contribute(_ value: GradientValue, to operand: Operand) {
      let (tensor, norm) = (operand.tensor, operand.normalization)
      if var sum = gradients[tensor.index] {
        precondition(
          sum.addend == nil && (norm == nil || sum.normalization == nil),
          "the gradient of \(tensor.name) has more terms than the fused form")
        if let norm {
          (sum.gradient, sum.normalization, sum.addend) = (value, norm, sum.gradient)
        } else {
          sum.addend = value
        }
        gradients[tensor.index] = sum
      } else {
        gradients[tensor.index] = TensorGradient(tensor: tensor, gradient: value, normalization: norm)
      }
      if let norm {
        finishPending()
        steps.append(.startNormalization(norm))
        pending = norm
      }
    }
  }
}
