import Training

/// A file that `torch.load(weights_only=True)` reads as a state_dict: PyTorch's zip format, written without Python.
///
/// The tensors are those of `model.safetensors`, fp32 with PyTorch's names and layouts: weights of convolutions are OIHW.
/// The archive has a pickle of tensor descriptions and one record of elements per tensor
/// (torch/csrc/jit/serialization/export.cpp; caffe2/serialize/inline_container.cc).
public enum PyTorchStateDict {
  /// Zip files without the extension for 64-bit sizes end here; so do our offsets.
  private static let maximumByteCount = 1 << 32 - 1
  /// A tensor is a record, and an archive has fewer than 2¹⁶ of them.
  private static let maximumTensorCount = 1 << 15 - 1
  /// PyTorch's version of the archive's layout.
  private static let formatVersion = "3\n"

  /// Returns the contents of the file; equal models give equal bytes.
  ///
  /// - Parameter model: Parameters and running statistics.
  /// - Returns: The bytes of the file.
  /// - Throws: ``ExportError`` if the model is too large for the format.
  public static func bytes(_ model: ModelState) throws -> [UInt8] {
    try bytes(model.modelTensors, network: model.graph.name)
  }

  /// Returns the contents of a file with some tensors.
  ///
  /// - Parameters:
  ///   - tensors: The tensors, in the order of the file.
  ///   - network: The network's name in errors.
  /// - Returns: The bytes of the file.
  /// - Throws: ``ExportError`` if the tensors are too large or too many for the format.
  package static func bytes(_ tensors: [FileTensor], network: String) throws -> [UInt8] {
    guard tensors.count <= maximumTensorCount else {
      throw ExportError(
        "\(network) has \(tensors.count) tensors, too many for this file format; "
          + "use the checkpoint's model.safetensors.")
    }
    let byteCount = tensors.reduce(0) { $0 + 4 * $1.shape.elementCount }
    guard byteCount < maximumByteCount - 1 << 24 else {
      throw ExportError(
        "\(network) has \(byteCount >> 20) MiB of tensors, too many for this file format; "
          + "use the checkpoint's model.safetensors.")
    }
    var archive = ZipArchive(reservingByteCount: byteCount + 1 << 20)
    archive.append("archive/data.pkl", pickle(tensors))
    archive.append("archive/byteorder", Array("little".utf8))
    for (i, tensor) in tensors.enumerated() {
      tensor.values.withUnsafeBytes { archive.append("archive/data/\(i)", $0) }
    }
    archive.append("archive/version", Array(formatVersion.utf8))
    return archive.finish()
  }

  /// Returns the pickle of an ordered dictionary of tensors, whose elements are in the records `data/0`, `data/1`, ….
  private static func pickle(_ tensors: [FileTensor]) -> [UInt8] {
    var pickle = PickleWriter()
    pickle.emptyOrderedDictionary()
    pickle.mark()
    for (i, tensor) in tensors.enumerated() {
      pickle.string(tensor.name)
      // torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)
      pickle.global("torch._utils", "_rebuild_tensor_v2")
      pickle.mark()
      pickle.mark()
      pickle.string("storage")
      pickle.global("torch", "FloatStorage")
      pickle.string(String(i))
      pickle.string("cpu")
      pickle.integer(tensor.shape.elementCount)
      pickle.tuple()
      pickle.persistentIdentifier()
      pickle.integer(0)
      pickle.integers(tensor.shape.dimensions)
      pickle.integers(strides(tensor.shape.dimensions))
      pickle.false()
      pickle.emptyOrderedDictionary()
      pickle.tuple()
      pickle.reduce()
    }
    pickle.setItems()
    return pickle.finish()
  }

  /// The distances between neighbours along each dimension of a dense row-major array.
  private static func strides(_ dimensions: [Int]) -> [Int] {
    dimensions.indices.map { dimensions[($0 + 1)...].reduce(1, *) }
  }
}
