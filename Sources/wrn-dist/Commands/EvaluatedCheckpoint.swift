import Collectives
import Datasets
import Foundation
import Models
import Tensors
import Training

/// The network of a checkpoint and the settings of its run, which rank 0 reads for all ranks.
struct EvaluatedCheckpoint {
  /// The family and size of the network.
  let model: WideResNetConfiguration
  private let path: String
  private let weights: EvaluatedWeights
  private let settings: [String: String]
  private let dataFingerprint: String?

  /// Reads a checkpoint's tensor names and settings.
  ///
  /// Collective. Only rank 0 reads files.
  ///
  /// - Parameters:
  ///   - path: A checkpoint, a run's directory or a file.
  ///   - weights: Which of a checkpoint's weights to load.
  ///   - communicator: The ranks.
  /// - Throws: `CollectiveFailure` on every rank if rank 0 fails; `CommunicationError` if communication fails.
  init(_ path: String, _ weights: EvaluatedWeights, _ communicator: any Communicator) throws {
    self.path = path
    self.weights = weights
    let text = try RankSession.collectively(communicator) {
      communicator.rank == 0 ? try Header(Checkpoint(path)).text() : ""
    }
    let header = try Header(text: try communicator.allGather(text)[0])
    model = try header.configuration()
    settings = header.settings
    dataFingerprint = header.dataFingerprint
  }

  /// The data set with the network's number of classes.
  var dataset: DatasetKind {
    setting("dataset") ?? (model.classCount == DatasetKind.cifar100.classCount ? .cifar100 : .cifar10)
  }
  /// The run's map from raw pixels to the network's input.
  var normalize: NormalizationMode { setting("normalize") ?? .none }
  /// The statistics that the run's evaluations used.
  var evalStatistics: NormalizationStatistics { setting("eval-statistics") ?? .batch }
  /// Whether the run's evaluations used mirror images, too.
  var testFlip: Bool { settings["test-flip"] == "true" }

  /// The images of the run's data set, by what the checkpoint knows of them.
  var imageOrigin: ImageOrigin {
    guard let dataFingerprint else { return .unknown }
    if dataFingerprint == Self.realCIFAR10Fingerprint { return .official }
    let synthetic = try? SyntheticDataset.dataset(dataset).fingerprint()
    return dataFingerprint == synthetic ? .synthetic : .other
  }

  /// `ImageDataset.fingerprint()` of the real CIFAR-10; for CIFAR-100 no such number has been recorded.
  private static let realCIFAR10Fingerprint = "d2ff6c1d9b63ed2e"

  /// Loads the weights on rank 0 and broadcasts them.
  ///
  /// Collective.
  ///
  /// - Returns: The model; and on rank 0 the checkpoint's path and step, and whether it has running statistics.
  /// - Throws: `CollectiveFailure` on every rank if rank 0 fails, or if statistics are needed but not there.
  func load(
    needsStatistics: Bool, _ communicator: any Communicator
  ) throws -> (model: ModelState, origin: (path: String, step: Int?, hasStatistics: Bool)) {
    let state = ModelState(model.graph())
    var origin = (path: path, step: nil as Int?, hasStatistics: true)
    try RankSession.collectively(communicator) {
      guard communicator.rank == 0 else { return }
      // A file without running statistics keeps the initial ones.
      state.graph.initialize(state.parameters, state.runningStatistics, seed: 0)
      let opened = try Checkpoint(path)
      for warning in opened.warnings { StandardError.write("warning: \(warning)") }
      let hasStatistics = try opened.loadWeights(weights, into: state)
      origin = (opened.path, opened.state?.step, hasStatistics)
      if !hasStatistics && needsStatistics {
        throw UsageError("\(path) has no running statistics; use --eval-statistics batch.")
      }
    }
    try state.broadcast(root: 0, on: communicator)
    return (state, origin)
  }

  /// Returns the whitening that rank 0 reads from the checkpoint.
  ///
  /// Collective.
  ///
  /// - Throws: `CollectiveFailure` on every rank if the checkpoint has none or it is invalid.
  func whitening(_ communicator: any Communicator) throws -> ZCAWhitening {
    let store = try RankSession.collectively(communicator) {
      guard communicator.rank == 0 else { return WhiteningFile.makeStore() }
      guard let store = try Checkpoint(path).whitening() else {
        throw UsageError(
          "--normalize zca needs the whitening of a run, which \(path) has not; give a checkpoint directory.")
      }
      return store
    }
    try communicator.broadcast(store.bytes, root: 0)
    return try WhiteningFile.whitening(store)
  }

  private func setting<Value: RawRepresentable<String>>(_ name: String) -> Value? {
    settings[name].flatMap(Value.init)
  }

  /// What ranks need to know of a checkpoint, as text.
  private struct Header: Codable {
    let architecture: WideResNetConfiguration.Architecture
    let depth: Int
    let widenFactor: Int
    let block: [Int]
    let classCount: Int
    let settings: [String: String]
    let dataFingerprint: String?

    init(_ checkpoint: Checkpoint) throws {
      let configuration = try checkpoint.configuration()
      architecture = configuration.architecture
      depth = configuration.depth
      widenFactor = configuration.widenFactor
      block = configuration.block
      classCount = configuration.classCount
      settings = checkpoint.state?.configuration ?? [:]
      dataFingerprint = checkpoint.state?.dataFingerprint
    }

    init(text: String) throws { self = try JSONDecoder().decode(Header.self, from: Data(text.utf8)) }

    func text() throws -> String { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }

    func configuration() throws -> WideResNetConfiguration {
      try WideResNetConfiguration(
        architecture: architecture, depth: depth, widenFactor: widenFactor, block: block, classCount: classCount)
    }
  }
}
