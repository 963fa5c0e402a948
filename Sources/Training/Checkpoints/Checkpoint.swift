import Foundation
import Models
import Tensors

/// A checkpoint: a folder with everything a run needs to go on, or a bare file of weights.
///
/// `model.safetensors` holds parameters and running statistics, `optimizer.safetensors` Adam's `m.NAME` and `v.NAME`,
/// `state.json` (written last) the step, the configuration, and length and SHA-256 of both. Nothing in it depends on the
/// number of ranks or threads.
public struct Checkpoint: Sendable {
  /// What `state.json` says.
  public struct State: Codable, Sendable {
    /// The layout of the folder, 1.
    public var formatVersion = 1
    /// The steps done.
    public var step: Int
    /// The training images consumed so far: where in the endless stream the next step begins.
    public var streamPosition: Int
    /// The run's seed.
    public var seed: UInt64
    /// The network's name, for example `WRN-22-1`.
    public var network: String
    /// Tells the data set from others (`CIFAR10.fingerprint()`).
    public var dataFingerprint: String
    /// Every setting by its flag's name.
    public var configuration: [String: String]
    /// Length and SHA-256 of the other files; filled in when the checkpoint is written.
    var files: [String: FileDigest] = [:]

    /// Describes a run after a step.
    public init(
      step: Int, streamPosition: Int, seed: UInt64, network: String, dataFingerprint: String,
      configuration: [String: String]
    ) {
      self.step = step
      self.streamPosition = streamPosition
      self.seed = seed
      self.network = network
      self.dataFingerprint = dataFingerprint
      self.configuration = configuration
    }
  }

  static let modelFile = "model.safetensors"
  static let optimizerFile = "optimizer.safetensors"
  static let stateFile = "state.json"

  /// The folder or file.
  public let path: String
  /// What `state.json` says; nil for a bare file.
  public let state: State?

  /// The file with the parameters.
  var modelPath: String { state == nil ? path : "\(path)/\(Self.modelFile)" }
  /// The file with the moments; nil for a bare file.
  var optimizerPath: String? { state == nil ? nil : "\(path)/\(Self.optimizerFile)" }

  /// Opens a checkpoint folder, a bare `.safetensors` file, or the latest checkpoint of a run's folder, and verifies
  /// lengths and SHA-256.
  ///
  /// - Throws: ``CheckpointError`` naming the file and what is wrong with it.
  public init(_ path: String) throws {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw CheckpointError(.bad, "there is no checkpoint \(path); is the path right?")
    }
    guard isDirectory.boolValue else {
      self.path = path
      state = nil
      return
    }
    if !FileManager.default.fileExists(atPath: "\(path)/\(Self.stateFile)") {
      for folder in [path, "\(path)/checkpoints"] {
        if let latest = try CheckpointFolder(folder).latest().checkpoint {
          self = latest
          return
        }
      }
    }
    self.path = path
    state = try Self.verifiedState(path)
  }

  /// Reads `state.json` and compares the other files with it.
  private static func verifiedState(_ path: String) throws -> State {
    guard let data = FileManager.default.contents(atPath: "\(path)/\(stateFile)") else {
      throw CheckpointError(
        .bad, "\(path) holds no checkpoint: there is no \(stateFile) in it; is the path right?")
    }
    guard let state = try? JSONDecoder().decode(State.self, from: data) else {
      throw CheckpointError(
        .bad, "\(path)/\(stateFile) is damaged; use an older checkpoint.")
    }
    guard state.formatVersion == 1 else {
      throw CheckpointError(
        .bad, "\(path) has format version \(state.formatVersion), this program reads 1; use a newer program.")
    }
    for name in [modelFile, optimizerFile] {
      let file = "\(path)/\(name)"
      guard let expected = state.files[name], let found = FileDigest.of(file) else {
        throw CheckpointError(.bad, "\(file) is missing; use an older checkpoint.")
      }
      guard found.bytes == expected.bytes else {
        throw CheckpointError(
          .bad,
          "\(file) has \(found.bytes) bytes where \(stateFile) says \(expected.bytes); "
            + "it was cut short or replaced; use an older checkpoint.")
      }
      guard found.sha256 == expected.sha256 else {
        throw CheckpointError(
          .bad, "\(file) is damaged: its SHA-256 is not the one in \(stateFile); use an older checkpoint.")
      }
    }
    return state
  }
}

extension ModelState {
  /// Parameters and running statistics under their names in a file.
  var modelTensors: [FileTensor] {
    network.parameterLayout.parameters.map { FileTensor($0.name, $0, in: parameters) }
      + network.statisticsLayout.parameters.map { FileTensor($0.name, $0, in: runningStatistics) }
  }

  /// The optimizer's moments under their names in a file.
  var optimizerTensors: [FileTensor] {
    [("m", firstMoment), ("v", secondMoment)].flatMap { prefix, store in
      network.parameterLayout.parameters.map { FileTensor("\(prefix).\($0.name)", $0, in: store) }
    }
  }
}
