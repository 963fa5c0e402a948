import Datasets
import Models
import Tensors
import Training

/// The translation of a ``ModelGraph`` into ONNX's nodes, operation by operation; it knows no family of models.
///
/// Activations are `NCHW`, weights `KCRS` (OIHW) under the checkpoint's tensor names. A node has the name of the graph's
/// tensor, or of the layer.
struct ONNXTranslation {
  private(set) var writer: ONNXGraphWriter
  private let model: ModelState
  private let folding: NormalizationFolding
  /// The ONNX name of each graph tensor that has been computed.
  private var names: [GraphTensor: String] = [:]
  /// The ONNX name of each batch norm's rectified output.
  private var rectifiedNames: [Int: String] = [:]

  /// Begins the translation of a model.
  init(_ model: ModelState, _ folding: NormalizationFolding) {
    self.model = model
    self.folding = folding
    writer = ONNXGraphWriter(name: model.graph.name)
  }

  /// Appends the input and the nodes that prepare it.
  mutating func appendInput(_ input: ONNXModel.Input, _ normalization: PixelNormalization) {
    names[model.graph.image] = writer.appendPreparedImages(
      input, normalization, size: model.graph.imageSize, channels: model.graph.imageChannels)
  }

  /// Appends all operations and the output `logits`.
  mutating func appendOperations() {
    for operation in model.graph.operations {
      switch operation {
      case .convolution(let operation): append(operation)
      case .scaling(let operation):
        let factor = writer.constant("\(operation.output.name), factor", [], [operation.factor])
        names[operation.output] = writer.node("Mul", [name(operation.input), factor], operation.output.name)
      case .classifier(let operation): append(operation)
      }
    }
    writer.output("logits", .float, [.free("batch"), .size(model.graph.classCount)])
  }

  private mutating func append(_ operation: ConvolutionOperation) {
    let (layer, geometry) = (operation.layer, operation.layer.geometry)
    let parameters = folding.convolution(layer, output: operation.output)
    var inputs = [
      operand(operation.input),
      writer.constant(layer.weight.name, parameters.weightShape, parameters.weight),
    ]
    if let bias = parameters.bias {
      inputs.append(writer.constant("\(layer.name).bias", [bias.count], bias))
    }
    // Rows and columns after the image, as far as the weight reaches.
    let after =
      (geometry.outputHeight - 1) * geometry.stride + geometry.kernelSize - geometry.inputHeight
      - geometry.paddingBefore
    let padding = [geometry.paddingBefore, geometry.paddingBefore, max(after, 0), max(after, 0)]
    let sum = operation.addend == nil ? operation.output.name : "\(operation.output.name), convolution"
    writer.node(
      "Conv", inputs, sum,
      [
        .integers("kernel_shape", [geometry.kernelSize, geometry.kernelSize]),
        .integers("strides", [geometry.stride, geometry.stride]), .integers("pads", padding),
      ])
    if let addend = operation.addend { writer.node("Add", [sum, name(addend)], operation.output.name) }
    names[operation.output] = operation.output.name
  }

  private mutating func append(_ operation: ClassifierOperation) {
    let layer = operation.layer
    let pooled = writer.node("GlobalAveragePool", [operand(operation.input)], "\(layer.name).pool")
    let features = writer.node("Flatten", [pooled], "\(layer.name).features", [.integer("axis", 1)])
    let weight = FileTensor(layer.weight.name, layer.weight, in: model.parameters)
    writer.node(
      "Gemm",
      [
        features, writer.constant(weight.name, weight.shape.dimensions, weight.values),
        writer.constant(layer.bias.name, [layer.outputs], Array(model.parameters[layer.bias])),
      ], "logits", [.integer("transB", 1)])
  }

  /// Returns what an operation reads; a batch norm and its ReLU are computed once for all readers.
  private mutating func operand(_ operand: Operand) -> String {
    let tensor = name(operand.tensor)
    guard let norm = operand.normalization else { return tensor }
    if let rectified = rectifiedNames[norm.index] { return rectified }
    let layer = norm.scale.name.droppingLastComponent
    let normalized =
      folding.isFolded(norm)
      ? tensor
      : writer.node(
        "BatchNormalization",
        [
          tensor, constant(norm.scale, model.parameters), constant(norm.shift, model.parameters),
          constant(norm.runningMean, model.runningStatistics), constant(norm.runningVariance, model.runningStatistics),
        ], layer, [.float("epsilon", BatchNormalization.epsilon)])
    let rectified = writer.node("Relu", [normalized], "\(layer).relu")
    rectifiedNames[norm.index] = rectified
    return rectified
  }

  private mutating func constant(_ parameter: Parameter, _ store: ParameterStore) -> String {
    writer.constant(parameter.name, [parameter.range.count], Array(store[parameter]))
  }

  private func name(_ tensor: GraphTensor) -> String {
    guard let name = names[tensor] else { preconditionFailure("\(tensor.name) is read before it is written") }
    return name
  }
}

extension FileTensor {
  /// The elements in file order.
  var values: [Float] {
    let count = shape.elementCount
    return [Float](unsafeUninitializedCapacity: count) { buffer, initializedCount in
      if let start = buffer.baseAddress { copy(to: start) }
      initializedCount = count
    }
  }
}

extension String {
  /// A tensor's name without its last component: the name of its layer.
  var droppingLastComponent: String { split(separator: ".").dropLast().joined(separator: ".") }
}
