import Datasets
import Tensors

/// The numbers of a ZCA whitening as a file and as one block of memory, which ranks broadcast.
///
/// `zca.safetensors` has the tensors `mean` [3072] and `matrix` [3072, 3072], features in the order `HWC`.
public enum WhiteningFile {
  /// The name in a run's directory and in its checkpoints.
  public static let name = "zca.safetensors"

  /// Allocates room for the numbers, all zero.
  public static func makeStore() -> ParameterStore {
    let count = ZCAWhitening.featureCount
    var layout = ParameterLayout()
    layout.append("mean", .bias, Shape(count))
    layout.append("matrix", .bias, Shape(count, count))
    return ParameterStore(layout)
  }

  /// Returns the numbers of a whitening.
  public static func store(_ whitening: ZCAWhitening) -> ParameterStore {
    let store = makeStore()
    for (i, value) in (whitening.mean + whitening.matrix).enumerated() { store.elements[i] = value }
    return store
  }

  /// Returns the whitening with some numbers.
  ///
  /// - Throws: `DatasetError` if a number is not finite.
  public static func whitening(_ store: ParameterStore) throws -> ZCAWhitening {
    let tensors = store.layout.parameters.map { Array(store[$0]) }
    return try ZCAWhitening(mean: tensors[0], matrix: tensors[1])
  }

  /// Reads a file.
  ///
  /// - Throws: ``CheckpointError`` if it cannot be read or has other tensors.
  public static func read(_ path: String) throws -> ParameterStore {
    let store = makeStore()
    let tensors = store.layout.parameters.map { FileTensor($0.name, $0, in: store) }
    try TensorMatches(tensors, in: SafetensorsFile(path), optional: []).copy()
    return store
  }
}

extension Checkpoint {
  /// The whitening of the run's images; `nil` if the checkpoint has none.
  ///
  /// - Throws: ``CheckpointError`` if its file is invalid.
  public func whitening() throws -> ParameterStore? {
    guard let state, state.files[WhiteningFile.name] != nil else { return nil }
    return try WhiteningFile.read("\(path)/\(WhiteningFile.name)")
  }
}
