import Models
import Tensors

extension Checkpoint {
  /// Copies everything into a model: parameters, running statistics and moments.
  ///
  /// - Throws: ``CheckpointError`` if a tensor is missing, too many or of another shape; the model is as it was then.
  public func load(into model: ModelState) throws {
    guard let optimizerPath else {
      throw CheckpointError(
        .bad, "\(path) holds weights only, so a run cannot be resumed from it; use --init \(path).")
    }
    let weights = try TensorMatches(model.modelTensors, in: SafetensorsFile(modelPath), optional: [])
    let moments = try TensorMatches(
      model.optimizerTensors, in: SafetensorsFile(optimizerPath), optional: [])
    weights.copy()
    moments.copy()
  }

  /// Copies parameters, and running statistics if there are any, into a model.
  ///
  /// `num_batches_tracked`, which PyTorch keeps beside a batch norm's statistics, is passed over.
  ///
  /// - Returns: Whether the file has running statistics; the model's are as they were if not.
  /// - Throws: ``CheckpointError`` if a tensor is missing, too many or of another shape; the model is as it was then.
  @discardableResult
  public func loadWeights(into model: ModelState) throws -> Bool {
    let statistics = Set(model.network.statisticsLayout.parameters.map(\.name))
    let file = try SafetensorsFile(modelPath)
    let hasStatistics = file.entries.contains { statistics.contains($0.name) }
    try TensorMatches(model.modelTensors, in: file, optional: hasStatistics ? [] : statistics).copy()
    return hasStatistics
  }

  /// The network whose tensors a file holds, from their names and shapes.
  ///
  /// - Throws: ``CheckpointError`` if they are of no network of ours.
  public func configuration() throws -> WideResNetConfiguration {
    let file = try SafetensorsFile(modelPath)
    var blocks = 0
    while file["groups.0.blocks.\(blocks).conv1.weight"] != nil { blocks += 1 }
    guard let shortcut = file["groups.0.shortcut.weight"], shortcut.shape.rank == 4, blocks > 0,
      let configuration = try? WideResNetConfiguration(
        depth: 6 * blocks + 4, widenFactor: shortcut.shape[0] / 16)
    else {
      throw CheckpointError(
        .bad, "\(modelPath) holds no Wide ResNet of Trax's form; its tensors have other names or shapes.")
    }
    return configuration
  }
}

/// Tensors of a model and their counterparts in a file, all checked, none copied yet.
private struct TensorMatches {
  private let file: SafetensorsFile
  private let pairs: [(tensor: FileTensor, entry: SafetensorsFile.Entry)]

  init(_ tensors: [FileTensor], in file: SafetensorsFile, optional: Set<String>) throws {
    self.file = file
    let entries = Dictionary(uniqueKeysWithValues: file.entries.map { ($0.name, $0) })
    var pairs: [(FileTensor, SafetensorsFile.Entry)] = []
    for tensor in tensors {
      guard let entry = entries[tensor.name] else {
        if optional.contains(tensor.name) { continue }
        throw Self.mismatch(file, "it has no tensor \(tensor.name)")
      }
      guard entry.shape == tensor.shape else {
        throw Self.mismatch(
          file, "its tensor \(tensor.name) has shape \(entry.shape) where \(tensor.shape) is needed")
      }
      guard entry.type == "F32" else {
        throw Self.mismatch(
          file, "its tensor \(tensor.name) has type \(entry.type) where F32 is needed")
      }
      pairs.append((tensor, entry))
    }
    let known = Set(tensors.map(\.name))
    let unknown = file.entries.first {
      !known.contains($0.name) && !$0.name.hasSuffix("num_batches_tracked")
    }
    if let unknown { throw Self.mismatch(file, "it has a tensor \(unknown.name) that the network has not") }
    self.pairs = pairs
  }

  func copy() {
    for (tensor, entry) in pairs { file.withBytes(of: entry) { tensor.copy(from: $0) } }
  }

  private static func mismatch(_ file: SafetensorsFile, _ what: String) -> CheckpointError {
    CheckpointError(
      .bad, "\(file.path) does not fit the network: \(what); was it made with another --depth or --widen-factor?")
  }
}
