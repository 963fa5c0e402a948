import Foundation
import Tensors

/// Writes a safetensors file; the same tensors give the same bytes.
public enum SafetensorsWriter {
  /// Writes all tensors of a store under their own names; the file appears complete or not at all.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public static func write(_ store: ParameterStore, to path: String) throws {
    let temporary = try OutputFile.temporaryPath(for: path)
    do {
      _ = try write(store.layout.parameters.map { FileTensor($0.name, $0, in: store) }, to: temporary)
      try OutputFile.finish(temporary, at: path)
    } catch {
      if temporary != path { try? FileManager.default.removeItem(atPath: temporary) }
      throw error
    }
  }

  /// Writes tensors in the given order and waits until the disk has them.
  ///
  /// Memory for one tensor at a time is needed.
  ///
  /// - Parameters:
  ///   - tensors: The tensors.
  ///   - path: The file, replaced if it exists.
  /// - Returns: The file's length and SHA-256.
  /// - Throws: ``CheckpointError`` if it cannot be written.
  static func write(_ tensors: [FileTensor], to path: String) throws -> FileDigest {
    let file = try OutputFile(path)
    var hash = FileHash()
    func put(_ bytes: UnsafeRawBufferPointer) throws {
      try file.write(bytes)
      hash.update(bytes)
    }
    let header = header(tensors)
    try withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { try put($0) }
    try Array(header.utf8).withUnsafeBytes { try put($0) }
    let buffer = AlignedBuffer<Float>(count: tensors.map { $0.byteCount / 4 }.max() ?? 0)
    for tensor in tensors {
      tensor.copy(to: buffer.pointer)
      try put(UnsafeRawBufferPointer(start: buffer.pointer, count: tensor.byteCount))
    }
    try file.close()
    return hash.finish()
  }

  /// The JSON header, padded with blanks to a multiple of 8 bytes.
  ///
  /// Names are plain ASCII.
  private static func header(_ tensors: [FileTensor]) -> String {
    var fields = ["\"__metadata__\":{\"format\":\"pt\"}"]
    var offset = 0
    for tensor in tensors {
      let shape = tensor.shape.extents.map(String.init).joined(separator: ",")
      let end = offset + tensor.byteCount
      fields.append(
        "\"\(tensor.name)\":{\"dtype\":\"F32\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    let text = "{" + fields.joined(separator: ",") + "}"
    return text + String(repeating: " ", count: (8 - text.utf8.count % 8) % 8)
  }
}
