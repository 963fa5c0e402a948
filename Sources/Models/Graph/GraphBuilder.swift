import Tensors

/// Collects the operations and parameters of a ``ModelGraph``.
///
/// Parameters are laid out in the order in which layers are declared. A convolution is declared where it is computed,
/// unless ``convolutionLayer(_:reading:channels:kernelSize:stride:hasBias:)`` declares it earlier.
package struct GraphBuilder {
  /// The padding of all convolutions of a graph.
  package enum Padding: Sendable {
    /// TensorFlow's `SAME`: ⌈H/stride⌉ output rows; an odd row of zeros comes after the image.
    case same
    /// PyTorch's `padding=(kernel_size - 1) // 2`: equally many zeros on all sides.
    case symmetric
  }

  /// The images.
  package let image: GraphTensor
  private var tensors: [GraphTensor]
  private var operations: [Operation] = []
  private var convolutionLayers: [ConvolutionLayer] = []
  private var normalizationLayers: [NormalizationLayer] = []
  private var dropoutLayers: [DropoutLayer] = []
  private let padding: Padding
  private var parameters = ParameterLayout()
  private var statistics = ParameterLayout()

  /// Begins a graph that reads square images.
  package init(imageSize: Int, imageChannels: Int, padding: Padding = .same) {
    self.padding = padding
    image = GraphTensor(index: 0, name: "images", height: imageSize, width: imageSize, channels: imageChannels)
    tensors = [image]
  }

  /// Declares a convolution that ``convolution(_:_:adding:)`` computes later.
  package mutating func convolutionLayer(
    _ name: String, reading tensor: GraphTensor, channels: Int, kernelSize: Int = 3, stride: Int = 1,
    hasBias: Bool = true
  ) -> ConvolutionLayer {
    let geometry = geometry(reading: tensor, channels: channels, kernelSize: kernelSize, stride: stride)
    let weight = parameters.append(
      "\(name).weight", .convolutionWeight, Shape(kernelSize, kernelSize, tensor.channels, channels))
    let bias = hasBias ? parameters.append("\(name).bias", .bias, Shape(channels)) : nil
    let layer = ConvolutionLayer(
      index: convolutionLayers.count, name: name, geometry: geometry, weight: weight, bias: bias)
    convolutionLayers.append(layer)
    return layer
  }

  /// Appends a declared convolution.
  package mutating func convolution(
    _ layer: ConvolutionLayer, _ input: Operand, adding addend: GraphTensor? = nil
  ) -> GraphTensor {
    let geometry = layer.geometry
    let output = tensor(
      layer.name, height: geometry.outputHeight, width: geometry.outputWidth, channels: geometry.outputChannels)
    precondition(
      addend.map { $0.elementCount == output.elementCount } ?? true, "\(layer.name) adds a tensor of another shape")
    operations.append(
      .convolution(ConvolutionOperation(layer: layer, input: input, addend: addend, output: output)))
    return output
  }

  /// Declares and appends a convolution.
  package mutating func convolution(
    _ name: String, _ input: Operand, channels: Int, kernelSize: Int = 3, stride: Int = 1, hasBias: Bool = true,
    adding addend: GraphTensor? = nil
  ) -> GraphTensor {
    let layer = convolutionLayer(
      name, reading: input.tensor, channels: channels, kernelSize: kernelSize, stride: stride, hasBias: hasBias)
    return convolution(layer, input, adding: addend)
  }

  /// Reads a tensor as it is.
  package func raw(_ tensor: GraphTensor) -> Operand { Operand(tensor: tensor, normalization: nil) }

  /// Declares a batch normalization and reads a tensor through it and ReLU.
  package mutating func normalized(_ name: String, _ tensor: GraphTensor) -> Operand {
    let shape = Shape(tensor.channels)
    let layer = NormalizationLayer(
      index: normalizationLayers.count, channels: tensor.channels, pixels: tensor.height * tensor.width,
      shift: parameters.append("\(name).bias", .shift, shape),
      scale: parameters.append("\(name).weight", .scale, shape),
      runningMean: statistics.append("\(name).running_mean", .runningMean, shape),
      runningVariance: statistics.append("\(name).running_var", .runningVariance, shape))
    normalizationLayers.append(layer)
    return Operand(tensor: tensor, normalization: layer)
  }

  /// Reads an operand through dropout; returns it unchanged if the probability is 0.
  ///
  /// - Precondition: The operand has a batch normalization, no dropout yet, and a multiple of 16 elements per image. The
  ///   probability is in [0, 1).
  package mutating func dropped(_ operand: Operand, _ name: String, probability: Double) -> Operand {
    precondition((0..<1).contains(probability), "the probability of \(name) is not in [0, 1)")
    if probability == 0 { return operand }
    precondition(operand.normalization != nil && operand.dropout == nil, "\(name) reads a raw tensor")
    precondition(operand.tensor.elementCount.isMultiple(of: 16), "\(name) reads a tensor of odd size")
    let layer = DropoutLayer(
      index: dropoutLayers.count, name: name, probability: probability, elementCount: operand.tensor.elementCount)
    dropoutLayers.append(layer)
    return operand.dropping(layer)
  }

  /// Appends output = factor · input.
  ///
  /// - Precondition: The factor is a power of two, so that scaling is exact.
  package mutating func scaled(_ input: GraphTensor, by factor: Float) -> GraphTensor {
    precondition(factor.significand == 1 && factor > 0, "\(factor) is not a power of two")
    let output = tensor(
      "\(input.name), scaled", height: input.height, width: input.width, channels: input.channels)
    operations.append(.scaling(ScalingOperation(input: input, factor: factor, output: output)))
    return output
  }

  /// Appends the classifier and ends the graph.
  ///
  /// - Parameters:
  ///   - name: The dense layer's name.
  ///   - input: The last activation, read through a batch normalization.
  ///   - classes: The number of classes.
  ///   - model: The network's name.
  /// - Returns: The graph.
  package mutating func classifier(_ name: String, _ input: Operand, classes: Int, model: String) -> ModelGraph {
    let inputs = input.tensor.channels
    let layer = DenseLayer(
      name: name, inputs: inputs, outputs: classes,
      weight: parameters.append("\(name).weight", .denseWeight, Shape(inputs, classes)),
      bias: parameters.append("\(name).bias", .bias, Shape(classes)))
    let classifier = ClassifierOperation(layer: layer, input: input)
    operations.append(.classifier(classifier))
    let graph = ModelGraph(
      name: model, parameterLayout: parameters, statisticsLayout: statistics, image: image, tensors: tensors,
      operations: operations, convolutionLayers: convolutionLayers, normalizationLayers: normalizationLayers,
      dropoutLayers: dropoutLayers, classifier: classifier)
    graph.validate()
    return graph
  }

  private func geometry(reading tensor: GraphTensor, channels: Int, kernelSize: Int, stride: Int) -> ConvolutionGeometry
  {
    switch padding {
    case .same:
      ConvolutionGeometry(
        inputHeight: tensor.height, inputWidth: tensor.width, inputChannels: tensor.channels,
        outputChannels: channels, kernelSize: kernelSize, stride: stride)
    case .symmetric:
      ConvolutionGeometry(
        inputHeight: tensor.height, inputWidth: tensor.width, inputChannels: tensor.channels,
        outputChannels: channels, kernelSize: kernelSize, stride: stride, padding: (kernelSize - 1) / 2)
    }
  }

  private mutating func tensor(_ name: String, height: Int, width: Int, channels: Int) -> GraphTensor {
    let tensor = GraphTensor(index: tensors.count, name: name, height: height, width: width, channels: channels)
    tensors.append(tensor)
    return tensor
  }
}

extension ModelGraph {
  /// Traps, with the tensor's or layer's name, on a graph that the executor cannot compute.
  fileprivate func validate() {
    precondition(
      operations.allSatisfy { $0.input.tensor != image || $0.input.normalization == nil && !$0.isScaling },
      "the images are read through a batch normalization or scaled")
    precondition(
      classifier.input.normalization != nil && classifier.input.dropout == nil,
      "the classifier reads a raw tensor, or through dropout")
    precondition(classifier.layer.inputs.isMultiple(of: 8), "the classifier reads \(classifier.layer.inputs) channels")
    for tensor in tensors {
      let readers = operations.filter { $0.input.tensor == tensor }
      // The sums of a scaled tensor go to the normalization that reads the scaled one.
      precondition(
        !readers.contains(where: \.isScaling) || readers.count == 1, "\(tensor.name) is scaled and read otherwise")
      let norms = Set(readers.compactMap(\.input.normalization?.index))
      precondition(norms.count <= 1, "\(tensor.name) is read through several batch normalizations")
      precondition(
        classifier.input.tensor != tensor || readers.count == 1, "\(tensor.name) has other readers than the classifier")
    }
    var computed = Set<Int>()
    for case .convolution(let operation) in operations {
      precondition(operation.addend != image, "\(operation.layer.name) adds the images")
      precondition(computed.insert(operation.layer.index).inserted, "\(operation.layer.name) is computed twice")
    }
    precondition(computed.count == convolutionLayers.count, "a declared convolution is never computed")
    // The backward pass exists only if the gradient of every tensor has a form that the engines compute.
    _ = BackwardSchedule(self)
  }
}

extension Operation {
  fileprivate var isScaling: Bool {
    if case .scaling = self { true } else { false }
  }
}
