/// What a named tensor of a network is, which decides how it starts and how it is laid out in a file.
public enum ParameterKind: String, Sendable, Codable {
  /// Convolution kernel, `RSCK` in memory, `KCRS` (PyTorch's OIHW) in a file.
  case convolutionWeight
  /// Dense kernel, `[inputs, outputs]` in memory, `[outputs, inputs]` (PyTorch's) in a file.
  case denseWeight
  /// Bias of a convolution or dense layer, one number an output channel.
  case bias
  /// Batch normalisation's scale (gamma), `weight` in a file.
  case scale
  /// Batch normalisation's shift (beta), `bias` in a file.
  case shift
  /// Batch normalisation's running mean; state, not trained.
  case runningMean
  /// Batch normalisation's running (biased) variance; state, not trained.
  case runningVariance
}

/// One named range of a flat buffer.
public struct Parameter: Hashable, Sendable {
  /// PyTorch's name, for example `groups.0.blocks.0.conv1.weight`.
  public let name: String
  /// What it is.
  public let kind: ParameterKind
  /// The extents in memory.
  public let shape: Shape
  /// Where it lies in the flat buffer, in elements.
  public let range: Range<Int>
}

/// The table of named ranges of a flat buffer: the order in which a network's tensors follow one another.
///
/// Parameters, their gradients and an optimizer's moments share one layout, so that zeroing, reducing, updating, saving
/// and hashing are one call each. Tensors follow one another without gaps.
public struct ParameterLayout: Hashable, Sendable {
  /// The tensors in flat order.
  public private(set) var parameters: [Parameter] = []
  private var indexByName: [String: Int] = [:]

  /// Makes an empty layout.
  public init() {}

  /// The number of elements of the flat buffer.
  public var elementCount: Int { parameters.last?.range.upperBound ?? 0 }

  /// The tensor called `name`, if there is one.
  public subscript(name: String) -> Parameter? { indexByName[name].map { parameters[$0] } }

  /// Appends a tensor and returns it.
  ///
  /// - Precondition: no tensor has that name yet.
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

/// All tensors of one layout in one contiguous fp32 buffer: a network's parameters, or their gradients, or its running
/// statistics, or one moment of an optimizer.
public final class ParameterStore: Sendable {
  /// The names, shapes and ranges.
  public let layout: ParameterLayout
  private let buffer: AlignedBuffer<Float>

  /// Allocates a store of zeros.
  public init(_ layout: ParameterLayout) {
    self.layout = layout
    buffer = AlignedBuffer(count: layout.elementCount)
  }

  /// The first element of the flat buffer.
  public var pointer: UnsafeMutablePointer<Float> { buffer.pointer }
  /// The flat buffer.
  public var elements: UnsafeMutableBufferPointer<Float> { buffer.elements }
  /// The flat buffer's bytes.
  public var bytes: UnsafeMutableRawBufferPointer { buffer.bytes }

  /// The elements of one tensor, in its memory layout.
  public subscript(parameter: Parameter) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(rebasing: buffer.elements[parameter.range])
  }

  /// Copies every element from a store of the same layout.
  ///
  /// - Precondition: the layouts are equal.
  public func copy(from other: ParameterStore) {
    precondition(layout == other.layout, "stores of different layouts cannot be copied")
    buffer.bytes.copyMemory(from: UnsafeRawBufferPointer(other.bytes))
  }
}
