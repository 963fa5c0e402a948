import Models
import Tensors
import Training

/// Batch norms that become part of the convolution before them, for inference.
///
/// With running statistics a batch norm is y = s·x + t per channel, with s = γ/√(σ² + ε) and t = β − s·μ. If x is the
/// output of a convolution with weight W and bias b, y is the output of one with weight s·W and bias s·b + t. That is
/// possible only where every reader of x reads it through the batch norm: an x that a residual connection adds, or that
/// is itself a sum, stays. Computed in Double, rounded once.
struct NormalizationFolding {
  private let model: ModelState
  /// The batch norm of each tensor that is folded, by the tensor's index.
  private let folded: [Int: NormalizationLayer]

  /// Decides which batch norms are folded; none if it is not enabled.
  init(_ model: ModelState, isEnabled: Bool) {
    self.model = model
    let operations = model.graph.operations
    var folded: [Int: NormalizationLayer] = [:]
    for case .convolution(let operation) in operations where isEnabled && operation.addend == nil {
      let tensor = operation.output
      let isAdded = operations.contains {
        if case .convolution(let reader) = $0 { reader.addend == tensor } else { false }
      }
      let readers = operations.filter { $0.input.tensor == tensor }
      guard !isAdded, let norm = readers.first?.input.normalization,
        readers.allSatisfy({ $0.input.normalization?.index == norm.index })
      else { continue }
      folded[tensor.index] = norm
    }
    self.folded = folded
  }

  /// The number of folded batch norms.
  var count: Int { folded.count }

  /// Whether a batch norm is part of a convolution.
  func isFolded(_ norm: NormalizationLayer) -> Bool { folded.values.contains { $0.index == norm.index } }

  /// A convolution's parameters, `KCRS` and `K`.
  struct Convolution {
    let weightShape: [Int]
    let weight: [Float]
    /// `nil` if there is none.
    let bias: [Float]?
  }

  /// Returns the parameters of a convolution, with the batch norm that is folded into it.
  func convolution(_ layer: ConvolutionLayer, output: GraphTensor) -> Convolution {
    let tensor = FileTensor(layer.weight.name, layer.weight, in: model.parameters)
    var weight = tensor.values
    let bias = layer.bias.map { Array(model.parameters[$0]) }
    guard let norm = folded[output.index] else {
      return Convolution(weightShape: tensor.shape.dimensions, weight: weight, bias: bias)
    }
    let filterLength = weight.count / norm.channels
    var shifted: [Float] = []
    for k in 0..<norm.channels {
      let variance = Double(model.runningStatistics[norm.runningVariance][k])
      let mean = Double(model.runningStatistics[norm.runningMean][k])
      let scale = Double(model.parameters[norm.scale][k]) / (variance + BatchNormalization.epsilon).squareRoot()
      for i in k * filterLength..<(k + 1) * filterLength { weight[i] = Float(scale * Double(weight[i])) }
      let shift = Double(model.parameters[norm.shift][k])
      shifted.append(Float(scale * (Double(bias?[k] ?? 0) - mean) + shift))
    }
    return Convolution(weightShape: tensor.shape.dimensions, weight: weight, bias: shifted)
  }
}
