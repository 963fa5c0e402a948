import Models
import ReferenceImplementation
import Tensors

/// Runs a ``ModelGraph`` operation by operation in Double, without fusing anything.
struct GraphInterpreter {
  let logits: [Double]
  let loss: Double
  /// The gradient of every parameter, by name.
  let gradients: [String: [Double]]

  /// Runs forward and backward pass with batch statistics.
  ///
  /// - Parameters:
  ///   - graph: The network.
  ///   - images: `NHWC`.
  ///   - labels: A class per image.
  ///   - parameters: A store of the graph's parameters.
  ///   - dropout: The seed and the step of dropout masks.
  init(
    _ graph: ModelGraph, _ images: [Double], labels: [Int], parameters: ParameterStore,
    dropout: (seed: UInt64, step: Int) = (0, 1)
  ) {
    var tape = AutogradTape(
      parameters: Dictionary(
        uniqueKeysWithValues: parameters.layout.parameters.map { ($0.name, parameters[$0].map(Double.init)) }),
      running: nil)
    var values = [graph.image: tape.constant(images)]
    var normalized: [Int: AutogradTape.Value] = [:]
    var logits: AutogradTape.Value?
    for operation in graph.operations {
      let operand = operation.input
      guard var x = values[operand.tensor] else {
        preconditionFailure("\(operand.tensor.name) is read before it is written")
      }
      if let norm = operand.normalization {
        // Computed once, however many operations read it.
        let name = String(norm.scale.name.dropLast(".weight".count))
        x = normalized[norm.index] ?? tape.normalizedReLU(name, x, channels: norm.channels)
        normalized[norm.index] = x
      }
      if let layer = operand.dropout { x = tape.product(x, Self.factors(layer, count: x.values.count, dropout)) }
      switch operation {
      case .convolution(let operation):
        var y = tape.convolution(operation.layer.name, x, operation.layer.geometry)
        if let addend = operation.addend.flatMap({ values[$0] }) { y = tape.sum(y, addend) }
        values[operation.output] = y
      case .scaling(let operation):
        precondition(operation.factor == 2, "the tests scale by 2")
        values[operation.output] = tape.sum(x, x)
      case .classifier(let operation):
        let pixels = operand.tensor.height * operand.tensor.width
        let features = tape.averagePool(x, pixels: pixels, channels: operand.tensor.channels)
        logits = tape.dense(operation.layer.name, features, outputs: operation.layer.outputs)
      }
    }
    guard let logits else { preconditionFailure("a graph ends in a classifier") }
    let (loss, gradient) = ReferenceClassifier.crossEntropy(logits.values, labels: labels)
    self.logits = logits.values
    self.loss = loss
    gradients = tape.backward(from: logits, gradient)
  }

  /// 0 or 1/(1 − p) for every element of all images, the image's position in the batch being its sample number.
  private static func factors(_ layer: DropoutLayer, count: Int, _ dropout: (seed: UInt64, step: Int)) -> [Double] {
    let stream = DropoutStream(seed: dropout.seed, purpose: layer.name, probability: layer.probability)
    var words = [UInt16](repeating: 0, count: layer.elementCount / 16)
    return (0..<count / layer.elementCount).flatMap { image in
      words.withUnsafeMutableBufferPointer { buffer in
        guard let start = buffer.baseAddress else { return }
        stream.fill(start, wordCount: buffer.count, step: dropout.step, sample: image)
      }
      return (0..<layer.elementCount).map {
        words[$0 / 16] >> UInt16($0 % 16) & 1 == 1 ? 1 / (1 - layer.probability) : 0
      }
    }
  }
}
