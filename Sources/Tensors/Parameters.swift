/// The role of a named tensor of a network, which decides its initial values and its layout in a file.
public enum ParameterKind: String, Sendable, Codable {
  /// Weight of a convolution: `RSCK` in memory, `KCRS` (PyTorch's OIHW) in a file.
  case convolutionWeight
  /// Weight of a dense layer: `[inputs, outputs]` in memory, `[outputs, inputs]` (PyTorch's) in a file.
  case denseWeight
  /// Bias of a convolution or dense layer, one value per output channel.
  case bias
  /// Scale (gamma) of a batch norm, `weight` in a file.
  case scale
  /// Shift (beta) of a batch norm, `bias` in a file.
  case shift
  /// Running mean of a batch norm; state, not trained.
  case runningMean
  /// Running biased variance of a batch norm; state, not trained.
  case runningVariance
}

/// A named tensor in a flat buffer.
public struct Parameter: Hashable, Sendable {
  /// PyTorch's name, for example `groups.0.blocks.0.conv1.weight`.
  public let name: String
  /// The tensor's role.
  public let kind: ParameterKind
  /// The shape in memory.
  public let shape: Shape
  /// The tensor's elements in the flat buffer.
  public let range: Range<Int>
}

/// The names, shapes and ranges of a network's tensors in one flat buffer, without gaps.
///
/// Parameters, their gradients and an optimizer's moments share one layout. Zeroing, reducing, updating, saving and
/// hashing a whole network is therefore one call each.
public struct ParameterLayout: Hashable, Sendable {
  /// The tensors in flat order.
  public private(set) var parameters: [Parameter] = []
  private var indexByName: [String: Int] = [:]

  /// Creates an empty layout.
  public init() {}

  /// The number of elements of the flat buffer.
  public var elementCount: Int { parameters.last?.range.upperBound ?? 0 }

  /// The tensor called `name`, or `nil` if the layout has none.
  public subscript(name: String) -> Parameter? { indexByName[name].map { parameters[$0] } }

  /// Appends a tensor and returns it.
  ///
  /// - Precondition: No tensor has that name yet.
  @discardableResult
  public mutating func append(_ name: String, _ kind: ParameterKind, _ shape: Shape) -> Parameter {
    precondition(indexByName[name] == nil, "two tensors are called \(name)")
    let start = elementCount
    let parameter = Parameter(
      name: name, kind: kind, shape: shape, range: start..<start + shape.elementCount)
    indexByName[name] = parameters.count
    parameters.append(parameter)
    return parameter
  }
}

/// One contiguous fp32 buffer that holds all tensors of a layout.
///
/// It holds a network's parameters, their gradients, its running statistics, or one moment of an optimizer.
public final class ParameterStore: Sendable {
  /// The names, shapes and ranges.
  public let layout: ParameterLayout
  private let buffer: AlignedBuffer<Float>

  /// Allocates a store of zeros.
  public init(_ layout: ParameterLayout) {
    self.layout = layout
    buffer = AlignedBuffer(count: layout.elementCount)
  }

  /// The address of the flat buffer's first element.
  public var pointer: UnsafeMutablePointer<Float> { buffer.pointer }
  /// All elements in flat order.
  public var elements: UnsafeMutableBufferPointer<Float> { buffer.elements }
  /// The bytes of all elements.
  public var bytes: UnsafeMutableRawBufferPointer { buffer.bytes }

  /// The elements of one tensor, in its memory layout.
  public subscript(parameter: Parameter) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(rebasing: buffer.elements[parameter.range])
  }

  /// Copies all elements from another store.
  ///
  /// - Precondition: Both stores have the same layout.
  public func copy(from other: ParameterStore) {
    precondition(layout == other.layout, "only stores of the same layout can be copied")
    buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(other.bytes))
  }
}
