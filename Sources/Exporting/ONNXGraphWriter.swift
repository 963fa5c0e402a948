import Foundation

/// Appends nodes and constants to an ONNX graph.
struct ONNXGraphWriter {
  /// The graph so far.
  private(set) var graph = Onnx_GraphProto()

  /// Begins a graph with a name.
  init(name: String) { graph.name = name }

  /// Appends a node with one output, which has the node's name.
  ///
  /// - Returns: The name of the output.
  @discardableResult
  mutating func node(
    _ type: String, _ inputs: [String], _ name: String, _ attributes: [Onnx_AttributeProto] = []
  ) -> String {
    graph.node.append(
      .with {
        $0.opType = type
        $0.input = inputs
        $0.output = [name]
        $0.name = name
        $0.attribute = attributes
      })
    return name
  }

  /// Appends a constant of fp32 values.
  ///
  /// - Returns: Its name.
  @discardableResult
  mutating func constant(_ name: String, _ dimensions: [Int], _ values: [Float]) -> String {
    precondition(values.count == dimensions.reduce(1, *), "\(name) has another shape")
    return append(name, dimensions, .float, values.withUnsafeBytes { Data($0) })
  }

  /// Appends a vector of 64-bit integers, such as a shape.
  ///
  /// - Returns: Its name.
  @discardableResult
  mutating func constant(_ name: String, _ values: [Int64]) -> String {
    append(name, [values.count], .int64, values.withUnsafeBytes { Data($0) })
  }

  /// Appends the graph's input.
  mutating func input(_ name: String, _ type: Onnx_TensorProto.DataType, _ dimensions: [Dimension]) {
    graph.input.append(Self.value(name, type, dimensions))
  }

  /// Appends the graph's output.
  mutating func output(_ name: String, _ type: Onnx_TensorProto.DataType, _ dimensions: [Dimension]) {
    graph.output.append(Self.value(name, type, dimensions))
  }

  /// A dimension of an input or output.
  enum Dimension {
    case size(Int)
    case free(String)
  }

  /// The bytes are little-endian, like the hosts that wrn-dist runs on.
  private mutating func append(
    _ name: String, _ dimensions: [Int], _ type: Onnx_TensorProto.DataType, _ bytes: Data
  ) -> String {
    graph.initializer.append(
      .with {
        $0.name = name
        $0.dims = dimensions.map(Int64.init)
        $0.dataType = Int32(type.rawValue)
        $0.rawData = bytes
      })
    return name
  }

  private static func value(
    _ name: String, _ type: Onnx_TensorProto.DataType, _ dimensions: [Dimension]
  ) -> Onnx_ValueInfoProto {
    .with {
      $0.name = name
      $0.type.tensorType.elemType = Int32(type.rawValue)
      $0.type.tensorType.shape.dim = dimensions.map { dimension in
        .with {
          switch dimension {
          case .size(let size): $0.dimValue = Int64(size)
          case .free(let name): $0.dimParam = name
          }
        }
      }
    }
  }
}

extension Onnx_AttributeProto {
  /// An integer attribute.
  static func integer(_ name: String, _ value: Int) -> Self {
    .with {
      $0.name = name
      $0.type = .int
      $0.i = Int64(value)
    }
  }

  /// An attribute of several integers.
  static func integers(_ name: String, _ values: [Int]) -> Self {
    .with {
      $0.name = name
      $0.type = .ints
      $0.ints = values.map(Int64.init)
    }
  }

  /// A floating-point attribute.
  static func float(_ name: String, _ value: Double) -> Self {
    .with {
      $0.name = name
      $0.type = .float
      $0.f = Float(value)
    }
  }
}
