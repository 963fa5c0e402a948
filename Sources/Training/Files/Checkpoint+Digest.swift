import Tensors

extension Checkpoint {
  /// One tensor of a checkpoint, for people to read.
  public struct TensorDescription: Hashable, Sendable {
    /// PyTorch's name.
    public let name: String
    /// The element type as the format spells it.
    public let type: String
    /// The extents in the file.
    public let shape: Shape
  }

  /// The tensors of the model's file, in the order of the file.
  ///
  /// - Throws: ``CheckpointError`` if the file is bad.
  public func tensors() throws -> [TensorDescription] {
    try SafetensorsFile(modelPath).entries.map {
      TensorDescription(name: $0.name, type: $0.type, shape: $0.shape)
    }
  }

  /// SHA-256 over all tensors in the order of their names, of model and optimizer together.
  ///
  /// Each contributes its name, a zero byte, its extents joined by commas, a zero byte, and its bytes; so two checkpoints
  /// have equal digests if and only if every number in them has the same bits.
  ///
  /// - Throws: ``CheckpointError`` if a file is bad.
  public func digest() throws -> String {
    let files = try ([modelPath] + [optimizerPath].compactMap { $0 }).map(SafetensorsFile.init)
    let pairs = files.flatMap { file in file.entries.map { (file, $0) } }
    var hash = FileHash()
    for (file, entry) in pairs.sorted(by: { $0.1.name.utf8.lexicographicallyPrecedes($1.1.name.utf8) }) {
      let shape = entry.shape.extents.map(String.init).joined(separator: ",")
      hash.update("\(entry.name)\0\(shape)\0")
      file.withBytes(of: entry) { hash.update($0) }
    }
    return hash.finish().sha256
  }
}
