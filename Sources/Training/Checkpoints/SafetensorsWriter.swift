import Foundation
import Tensors

/// A writer of safetensors files; equal tensors give equal files.
public enum SafetensorsWriter {
  /// Writes all tensors of a store under their own names, atomically.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public static func write(_ store: ParameterStore, to path: String) throws {
    let temporary = try OutputFile.temporaryPath(for: path)
    do {
      _ = try write(
        store.layout.parameters.map { FileTensor($0.name, $0, in: store) }, to: temporary,
        OutputFile.mode(temporary, for: path))
      try OutputFile.publish(temporary, at: path)
    } catch {
      if temporary != path { try? FileManager.default.removeItem(atPath: temporary) }
      throw error
    }
  }

  /// Writes tensors in the given order and waits until they are on the disk.
  ///
  /// Allocates memory for the largest tensor.
  ///
  /// - Parameters:
  ///   - tensors: The tensors.
  ///   - path: The file, replaced if it exists.
  ///   - mode: How to open it.
  ///   - progress: Called after every tensor.
  /// - Returns: The file's length and SHA-256.
  /// - Throws: ``CheckpointError`` if it cannot be written.
  static func write(
    _ tensors: [FileTensor], to path: String, _ mode: OutputFile.Mode = .new, progress: () -> Void = {}
  ) throws -> FileDigest {
    let file = try OutputFile(path, mode)
    var hash = FileHash()
    func append(_ bytes: UnsafeRawBufferPointer) throws {
      try file.write(bytes)
      hash.update(bytes)
    }
    let header = header(tensors)
    try withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { try append($0) }
    try Array(header.utf8).withUnsafeBytes { try append($0) }
    let buffer = AlignedBuffer<Float>(count: tensors.map { $0.byteCount / 4 }.max() ?? 0)
    for tensor in tensors {
      tensor.copy(to: buffer.pointer)
      try append(UnsafeRawBufferPointer(start: buffer.pointer, count: tensor.byteCount))
      progress()
    }
    try file.close()
    return hash.finalize()
  }

  /// Returns the JSON header, padded with blanks to a multiple of 8 bytes.
  ///
  /// - Precondition: Names are ASCII and need no escapes.
  private static func header(_ tensors: [FileTensor]) -> String {
    var fields = ["\"__metadata__\":{\"format\":\"pt\"}"]
    var offset = 0
    for tensor in tensors {
      let shape = tensor.shape.dimensions.map(String.init).joined(separator: ",")
      let end = offset + tensor.byteCount
      fields.append(
        "\"\(tensor.name)\":{\"dtype\":\"F32\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    let text = "{" + fields.joined(separator: ",") + "}"
    return text + String(repeating: " ", count: (8 - text.utf8.count % 8) % 8)
  }
}

/// A tensor as a file stores it: PyTorch's name, dimensions and order of elements.
///
/// Convolution weights are `RSCK` in memory and `KCRS` (OIHW) in a file; dense weights are `[inputs, outputs]` in memory
/// and `[outputs, inputs]` in a file. All others have one layout.
package struct FileTensor {
  /// The name in the file.
  package let name: String
  private let parameter: Parameter
  private let store: ParameterStore

  /// Creates the view of a parameter of a store, with a name.
  package init(_ name: String, _ parameter: Parameter, in store: ParameterStore) {
    self.name = name
    self.parameter = parameter
    self.store = store
  }

  /// The dimensions in the file.
  package var shape: Shape {
    let e = parameter.shape.dimensions
    return switch parameter.kind {
    case .convolutionWeight: Shape(e[3], e[2], e[0], e[1])
    case .denseWeight: Shape(e[1], e[0])
    default: parameter.shape
    }
  }

  /// The size in the file.
  var byteCount: Int { parameter.range.count * MemoryLayout<Float>.stride }

  /// Copies the elements to file order.
  package func copy(to target: UnsafeMutablePointer<Float>) {
    let source = store[parameter]
    forEachElement { memory, file in target[file] = source[memory] }
  }

  /// Copies the elements from file order.
  func copy(from source: UnsafeRawBufferPointer) {
    let target = store[parameter]
    forEachElement { memory, file in
      target[memory] = Float(
        bitPattern: UInt32(
          littleEndian: source.loadUnaligned(fromByteOffset: 4 * file, as: UInt32.self)))
    }
  }

  /// Calls a body with every element's index in memory and in the file.
  @inline(__always)
  private func forEachElement(_ body: (_ memory: Int, _ file: Int) -> Void) {
    let e = parameter.shape.dimensions
    switch parameter.kind {
    case .convolutionWeight:
      let (taps, inputs, filters) = (e[0] * e[1], e[2], e[3])
      for k in 0..<filters {
        for c in 0..<inputs {
          for t in 0..<taps { body((t * inputs + c) * filters + k, (k * inputs + c) * taps + t) }
        }
      }
    case .denseWeight:
      for o in 0..<e[1] { for i in 0..<e[0] { body(i * e[1] + o, o * e[0] + i) } }
    default: for i in 0..<parameter.range.count { body(i, i) }
    }
  }
}
