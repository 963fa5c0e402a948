import Models
import Tensors

extension Checkpoint {
  /// Copies parameters, running statistics and optimizer states into a model.
  ///
  /// - Throws: ``CheckpointError`` if a tensor is missing, unknown or has another shape; the model is unchanged then.
  public func load(into model: ModelState) throws {
    guard let optimizerPath else {
      throw CheckpointError(
        .bad, "\(path) holds weights only, so a run cannot be resumed from it; use --init \(path).")
    }
    let weights = try TensorMatches(model.modelTensors, in: SafetensorsFile(modelPath), optional: [])
    let states = try TensorMatches(
      model.optimizerTensors, in: SafetensorsFile(optimizerPath), optional: [])
    weights.copy()
    states.copy()
  }

  /// Copies parameters, and running statistics if there are any, into a model.
  ///
  /// `num_batches_tracked`, which PyTorch stores with a batch norm's statistics, is skipped.
  ///
  /// - Parameters:
  ///   - weights: The weights of the last step, or their average.
  ///   - model: The model.
  /// - Returns: Whether the file has running statistics; if not, the model's are unchanged.
  /// - Throws: ``CheckpointError`` if a tensor is missing, unknown or has another shape, or if there is no average; the
  ///   model is unchanged then.
  @discardableResult
  public func loadWeights(_ weights: EvaluatedWeights = .raw, into model: ModelState) throws -> Bool {
    let statistics = Set(model.graph.statisticsLayout.parameters.map(\.name))
    let file = try SafetensorsFile(weightsPath(weights))
    let hasStatistics = file.entries.contains { statistics.contains($0.name) }
    try TensorMatches(model.modelTensors, in: file, optional: hasStatistics ? [] : statistics).copy()
    return hasStatistics
  }

  /// The file of some weights.
  private func weightsPath(_ weights: EvaluatedWeights) throws -> String {
    if weights == .raw { return modelPath }
    guard let state, state.files[Self.averageFile] != nil else {
      throw CheckpointError(
        .bad, "\(path) has no averaged weights; use --weights raw, or train with --average-decay.")
    }
    return "\(path)/\(Self.averageFile)"
  }

  /// Returns the family and size of the network of the file's tensors, from their names and shapes.
  ///
  /// - Throws: ``CheckpointError`` if no supported network has these tensors.
  public func configuration() throws -> WideResNetConfiguration {
    try Self.configuration(of: SafetensorsFile(modelPath))
  }

  /// Returns the family and size of the network of a file's tensors.
  ///
  /// - Throws: ``CheckpointError`` if no supported network has these tensors.
  package static func configuration(of file: SafetensorsFile) throws -> WideResNetConfiguration {
    var blocks = 0
    while file["groups.0.blocks.\(blocks).conv1.weight"] != nil { blocks += 1 }
    var kernelSizes: [Int] = []
    while let weight = file["groups.0.blocks.0.conv\(kernelSizes.count + 1).weight"], weight.shape.rank == 4 {
      kernelSizes.append(weight.shape[2])
    }
    // Trax's groups have a shortcut each; in the paper's network it belongs to a block.
    let isTrax = file["groups.0.shortcut.weight"] != nil
    // A hostile file may declare any shape: many classes cost no bytes if the other dimension is 0.
    guard let first = file["groups.0.blocks.0.conv1.weight"], first.shape.rank == 4, let head = file["head.weight"],
      head.shape.rank == 2, head.shape.dimensions.allSatisfy({ $0 > 0 }),
      let configuration = try? WideResNetConfiguration(
        architecture: isTrax ? .trax : .wrn, depth: 6 * blocks + 4, widenFactor: first.shape[0] / 16,
        block: kernelSizes,
        classCount: head.shape[0])
    else {
      throw CheckpointError(
        .bad, "\(file.path) is not a Wide ResNet of Trax or of the paper; its tensors have other names or shapes.")
    }
    return configuration
  }
}

/// Tensors of a model matched with a file's, all checked before any is copied.
package struct TensorMatches {
  private let file: SafetensorsFile
  private let pairs: [(tensor: FileTensor, entry: SafetensorsFile.Entry)]

  /// Matches all tensors.
  ///
  /// - Throws: ``CheckpointError`` if one is missing and not `optional`, unknown, or has another shape or type.
  package init(_ tensors: [FileTensor], in file: SafetensorsFile, optional: Set<String>) throws {
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
    if let unknown { throw Self.mismatch(file, "it has a tensor \(unknown.name) that the network does not have") }
    self.pairs = pairs
  }

  /// Copies the file's numbers into the model.
  package func copy() {
    for (tensor, entry) in pairs { file.withBytes(of: entry) { tensor.copy(from: $0) } }
  }

  private static func mismatch(_ file: SafetensorsFile, _ what: String) -> CheckpointError {
    CheckpointError(
      .bad,
      "\(file.path) does not fit the network: \(what); was it made with another --architecture, --depth, --widen-factor or --block?"
    )
  }
}
