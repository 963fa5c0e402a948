import Exporting
import Foundation

/// Runs an ONNX graph node by node in Double, by the definitions of ONNX's operators.
///
/// https://onnx.ai/onnx/operators, opset 17. It shares no code with the models or the translation.
struct ONNXInterpreter {
  /// A dense row-major array.
  struct Value {
    var shape: [Int]
    var elements: [Double]
  }

  private let model: Onnx_ModelProto
  private var values: [String: Value] = [:]

  /// Runs a model on images, given in the layout of its input.
  ///
  /// - Returns: The output `logits`.
  static func logits(_ model: Onnx_ModelProto, images: [Double], count: Int) -> Value {
    var interpreter = ONNXInterpreter(model: model)
    for tensor in model.graph.initializer { interpreter.values[tensor.name] = constant(tensor) }
    let input = model.graph.input[0]
    let dimensions = input.type.tensorType.shape.dim
    precondition(dimensions[0].dimParam == "batch", "the batch size is free")
    interpreter.values[input.name] = Value(
      shape: [count] + dimensions.dropFirst().map { Int($0.dimValue) }, elements: images)
    for node in model.graph.node { interpreter.run(node) }
    return interpreter.value("logits")
  }

  /// Returns a constant of the graph.
  static func constant(_ tensor: Onnx_TensorProto) -> Value {
    let elements: [Double]
    switch tensor.dataType {
    case 1: elements = numbers(tensor.rawData, Float.self).map(Double.init)
    case 7: elements = numbers(tensor.rawData, Int64.self).map(Double.init)
    default: preconditionFailure("\(tensor.name) has type \(tensor.dataType)")
    }
    let shape = tensor.dims.map(Int.init)
    precondition(elements.count == shape.reduce(1, *), "\(tensor.name) has another size")
    return Value(shape: shape, elements: elements)
  }

  private static func numbers<Number: BitwiseCopyable>(_ data: Data, _: Number.Type) -> [Number] {
    data.withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count, by: MemoryLayout<Number>.size).map {
        bytes.loadUnaligned(fromByteOffset: $0, as: Number.self)
      }
    }
  }

  private init(model: Onnx_ModelProto) { self.model = model }

  private func value(_ name: String) -> Value {
    guard let value = values[name] else { preconditionFailure("\(name) is read before it is written") }
    return value
  }

  private mutating func run(_ node: Onnx_NodeProto) {
    let inputs = node.input.map(value)
    let result: Value
    switch node.opType {
    case "Cast": result = inputs[0]
    case "Relu": result = Value(shape: inputs[0].shape, elements: inputs[0].elements.map { max(0, $0) })
    case "Add": result = Self.broadcast(inputs, +)
    case "Sub": result = Self.broadcast(inputs, -)
    case "Mul": result = Self.broadcast(inputs, *)
    case "Div": result = Self.broadcast(inputs, /)
    case "Less": result = Self.broadcast(inputs) { $0 < $1 ? 1 : 0 }
    case "Where":
      let chosen = Self.broadcast([inputs[0], inputs[1]]) { $0 * $1 }
      result = Self.broadcast([chosen, Self.broadcast([inputs[0], inputs[2]]) { (1 - $0) * $1 }], +)
    case "Transpose": result = Self.transpose(inputs[0], node.integers("perm"))
    case "Reshape": result = Self.reshape(inputs[0], inputs[1].elements.map { Int($0) })
    case "ReduceMean", "ReduceL2":
      precondition(node.integers("axes") == [1] && inputs[0].shape.count == 2, "rows are reduced")
      result = Self.reduceRows(inputs[0]) { row in
        node.opType == "ReduceMean"
          ? row.reduce(0, +) / Double(row.count) : row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      }
    case "MatMul": result = Self.product(inputs[0], inputs[1], transposed: false)
    case "Gemm":
      precondition(node.integer("transB") == 1, "the dense layer's weight is [outputs, inputs]")
      result = Self.broadcast([Self.product(inputs[0], inputs[1], transposed: true), inputs[2]], +)
    case "Flatten":
      precondition(node.integer("axis") == 1, "images are flattened")
      result = Self.reshape(inputs[0], [inputs[0].shape[0], -1])
    case "GlobalAveragePool":
      let pixels = inputs[0].shape[2] * inputs[0].shape[3]
      let rows = Self.reshape(inputs[0], [-1, pixels])
      let means = Self.reduceRows(rows) { $0.reduce(0, +) / Double(pixels) }
      result = Value(shape: Array(inputs[0].shape[..<2]) + [1, 1], elements: means.elements)
    case "BatchNormalization": result = Self.normalize(inputs, epsilon: Double(node.float("epsilon")))
    case "Conv": result = Self.convolve(inputs, node)
    default: preconditionFailure("the operator \(node.opType) is not known")
    }
    precondition(node.output.count == 1 && values[node.output[0]] == nil, "\(node.name) writes one new value")
    values[node.output[0]] = result
  }

  /// NumPy's broadcasting of two arrays.
  private static func broadcast(_ inputs: [Value], _ operation: (Double, Double) -> Double) -> Value {
    let (a, b) = (inputs[0], inputs[1])
    let rank = max(a.shape.count, b.shape.count)
    func padded(_ value: Value) -> [Int] { Array(repeating: 1, count: rank - value.shape.count) + value.shape }
    let (shapeA, shapeB) = (padded(a), padded(b))
    let shape = zip(shapeA, shapeB).map { max($0, $1) }
    var elements = [Double](repeating: 0, count: shape.reduce(1, *))
    for i in elements.indices {
      var (rest, indexA, indexB, strideA, strideB) = (i, 0, 0, 1, 1)
      for d in (0..<rank).reversed() {
        let position = rest % shape[d]
        rest /= shape[d]
        if shapeA[d] > 1 { indexA += position * strideA }
        if shapeB[d] > 1 { indexB += position * strideB }
        strideA *= shapeA[d]
        strideB *= shapeB[d]
      }
      elements[i] = operation(a.elements[indexA], b.elements[indexB])
    }
    return Value(shape: shape, elements: elements)
  }

  private static func transpose(_ input: Value, _ order: [Int]) -> Value {
    let shape = order.map { input.shape[$0] }
    let strides = input.shape.indices.map { input.shape[($0 + 1)...].reduce(1, *) }
    let elements = (0..<input.elements.count).map { i in
      var (rest, index) = (i, 0)
      for d in shape.indices.reversed() {
        index += rest % shape[d] * strides[order[d]]
        rest /= shape[d]
      }
      return input.elements[index]
    }
    return Value(shape: shape, elements: elements)
  }

  private static func reshape(_ input: Value, _ shape: [Int]) -> Value {
    let known = shape.filter { $0 != -1 }.reduce(1, *)
    return Value(shape: shape.map { $0 == -1 ? input.elements.count / known : $0 }, elements: input.elements)
  }

  private static func reduceRows(_ input: Value, _ operation: ([Double]) -> Double) -> Value {
    let (rows, columns) = (input.shape[0], input.shape[1])
    return Value(
      shape: [rows, 1],
      elements: (0..<rows).map { operation(Array(input.elements[$0 * columns..<($0 + 1) * columns])) })
  }

  private static func product(_ a: Value, _ b: Value, transposed: Bool) -> Value {
    let (rows, depth) = (a.shape[0], a.shape[1])
    let columns = transposed ? b.shape[0] : b.shape[1]
    var elements = [Double](repeating: 0, count: rows * columns)
    for i in 0..<rows {
      for k in 0..<depth {
        let x = a.elements[i * depth + k]
        for j in 0..<columns {
          elements[i * columns + j] += x * b.elements[transposed ? j * depth + k : k * columns + j]
        }
      }
    }
    return Value(shape: [rows, columns], elements: elements)
  }

  private static func normalize(_ inputs: [Value], epsilon: Double) -> Value {
    var result = inputs[0]
    let (channels, pixels) = (result.shape[1], result.shape[2] * result.shape[3])
    for i in result.elements.indices {
      let c = i / pixels % channels
      let centered = result.elements[i] - inputs[3].elements[c]
      result.elements[i] =
        centered / (inputs[4].elements[c] + epsilon).squareRoot() * inputs[1].elements[c] + inputs[2].elements[c]
    }
    return result
  }

  private static func convolve(_ inputs: [Value], _ node: Onnx_NodeProto) -> Value {
    let (x, w) = (inputs[0], inputs[1])
    let (images, channels, height, width) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    let (filters, kernel) = (w.shape[0], w.shape[2])
    precondition(w.shape == [filters, channels, kernel, kernel], "\(node.name) has another weight")
    precondition(node.integers("kernel_shape") == [kernel, kernel], "\(node.name) has another kernel")
    let (stride, pads) = (node.integers("strides")[0], node.integers("pads"))
    let rows = (height + pads[0] + pads[2] - kernel) / stride + 1
    let columns = (width + pads[1] + pads[3] - kernel) / stride + 1
    var elements = [Double](repeating: 0, count: images * filters * rows * columns)
    for n in 0..<images {
      for k in 0..<filters {
        let bias = inputs.count > 2 ? inputs[2].elements[k] : 0
        for p in 0..<rows {
          for q in 0..<columns {
            var sum = bias
            for r in 0..<kernel {
              let row = p * stride + r - pads[0]
              guard (0..<height).contains(row) else { continue }
              for s in 0..<kernel {
                let column = q * stride + s - pads[1]
                guard (0..<width).contains(column) else { continue }
                for c in 0..<channels {
                  sum +=
                    x.elements[((n * channels + c) * height + row) * width + column]
                    * w.elements[((k * channels + c) * kernel + r) * kernel + s]
                }
              }
            }
            elements[((n * filters + k) * rows + p) * columns + q] = sum
          }
        }
      }
    }
    return Value(shape: [images, filters, rows, columns], elements: elements)
  }
}

extension Onnx_NodeProto {
  fileprivate func named(_ name: String) -> Onnx_AttributeProto {
    guard let attribute = attribute.first(where: { $0.name == name }) else {
      preconditionFailure("\(self.name) has no attribute \(name)")
    }
    return attribute
  }

  fileprivate func integer(_ name: String) -> Int { Int(named(name).i) }
  fileprivate func integers(_ name: String) -> [Int] { named(name).ints.map(Int.init) }
  fileprivate func float(_ name: String) -> Float { named(name).f }
}
