import Tensors

/// A record of operations for reverse-mode differentiation of whole tensors, in Double.
package struct AutogradTape {
  /// An intermediate tensor.
  package struct Value {
    package let values: [Double]
    fileprivate let index: Int
  }

  /// Adds the contributions of a value's gradient to those of earlier values and of parameters.
  private typealias Step = (
    _ gradient: [Double], _ values: inout [Int: [Double]], _ parameters: inout [String: [Double]]
  ) -> Void

  private let parameters: [String: [Double]]
  private let running: [String: ReferenceBatchNormalization]?
  package private(set) var statistics: [String: ReferenceBatchNormalization] = [:]
  private var steps: [Step] = []

  /// Creates an empty tape.
  ///
  /// - Parameters:
  ///   - parameters: All parameters by name.
  ///   - running: Statistics that replace the batch's; gradients are meaningless then.
  package init(parameters: [String: [Double]], running: [String: ReferenceBatchNormalization]?) {
    self.parameters = parameters
    self.running = running
  }

  /// Returns the gradients of all parameters for the gradient of one value.
  package func backward(from value: Value, _ gradient: [Double]) -> [String: [Double]] {
    var values = [value.index: gradient]
    var gradients: [String: [Double]] = [:]
    for index in steps.indices.reversed() {
      guard let gradient = values.removeValue(forKey: index) else { continue }
      steps[index](gradient, &values, &gradients)
    }
    return gradients
  }

  private mutating func record(_ values: [Double], _ step: @escaping Step) -> Value {
    steps.append(step)
    return Value(values: values, index: steps.count - 1)
  }

  private func parameter(_ name: String) -> [Double] {
    guard let values = parameters[name] else { preconditionFailure("there is no parameter \(name)") }
    return values
  }

  private static func add(_ gradient: [Double], to index: Int, _ values: inout [Int: [Double]]) {
    values[index] = values[index].map { zip($0, gradient).map(+) } ?? gradient
  }

  /// Records a value that needs no gradient: the images.
  package mutating func constant(_ values: [Double]) -> Value { record(values) { _, _, _ in } }

  /// A convolution; it has a bias if the parameters have one of its name.
  package mutating func convolution(_ name: String, _ x: Value, _ geometry: ConvolutionGeometry) -> Value {
    let weight = parameter("\(name).weight")
    let bias = parameters["\(name).bias"]
    let y = ReferenceConvolution.forward(
      geometry, x.values, weight: weight,
      bias: bias ?? [Double](repeating: 0, count: geometry.outputChannels))
    return record(y) { gradient, values, parameters in
      let found = ReferenceConvolution.backward(
        geometry, x.values, weight: weight, outputGradient: gradient)
      Self.add(found.input, to: x.index, &values)
      parameters["\(name).weight"] = found.weight
      if bias != nil { parameters["\(name).bias"] = found.bias }
    }
  }

  /// Batch normalization and ReLU.
  package mutating func normalizedReLU(_ name: String, _ x: Value, channels: Int) -> Value {
    let norm = running?[name] ?? ReferenceBatchNormalization(of: x.values, channels: channels)
    statistics[name] = norm
    let scale = parameter("\(name).weight")
    let y = norm.forward(x.values, scale: scale, shift: parameter("\(name).bias"))
    return record(y.map { max($0, 0) }) { gradient, values, parameters in
      let masked = zip(gradient, y).map { $1 <= 0 ? 0 : $0 }
      let found = norm.backward(x.values, scale: scale, outputGradient: masked)
      Self.add(found.input, to: x.index, &values)
      parameters["\(name).weight"] = found.scale
      parameters["\(name).bias"] = found.shift
    }
  }

  /// a + b.
  package mutating func sum(_ a: Value, _ b: Value) -> Value {
    record(zip(a.values, b.values).map(+)) { gradient, values, _ in
      Self.add(gradient, to: a.index, &values)
      Self.add(gradient, to: b.index, &values)
    }
  }

  /// The element-wise product with constants: dropout.
  package mutating func product(_ x: Value, _ factors: [Double]) -> Value {
    record(zip(x.values, factors).map(*)) { gradient, values, _ in
      Self.add(zip(gradient, factors).map(*), to: x.index, &values)
    }
  }

  /// The mean over an image's pixels.
  package mutating func averagePool(_ x: Value, pixels: Int, channels: Int) -> Value {
    let y = ReferenceClassifier.averagePool(x.values, pixels: pixels, channels: channels)
    return record(y) { gradient, values, _ in
      let found = ReferenceClassifier.averagePoolBackward(
        gradient, pixels: pixels, channels: channels)
      Self.add(found, to: x.index, &values)
    }
  }

  /// A dense layer with bias.
  package mutating func dense(_ name: String, _ x: Value, outputs: Int) -> Value {
    let weight = parameter("\(name).weight")
    let y = ReferenceClassifier.dense(x.values, weight: weight, bias: parameter("\(name).bias"))
    return record(y) { gradient, values, parameters in
      let found = ReferenceClassifier.denseBackward(
        x.values, weight: weight, outputGradient: gradient, outputs: outputs)
      Self.add(found.input, to: x.index, &values)
      parameters["\(name).weight"] = found.weight
      parameters["\(name).bias"] = found.bias
    }
  }
}
