import Digests
import Foundation
import Models
import Tensors

/// A checkpoint: a directory with everything that a run needs to resume, or a bare file of weights.
///
/// `model.safetensors` holds parameters and running statistics, `optimizer.safetensors` the optimizer's states as `STATE.NAME`,
/// `state.json` (written last) the step, the configuration, and the lengths and SHA-256 of both. If weights are averaged,
/// `average.safetensors` holds the average with its own running statistics; if images are whitened, `zca.safetensors` the
/// whitening. A checkpoint does not depend on the number of
/// ranks or threads.
public struct Checkpoint: Sendable {
  /// The contents of `state.json`.
  public struct State: Codable, Sendable {
    /// The version of the directory's layout, 2; version 1 has no digest.
    public var formatVersion = CheckpointState.formatVersion
    /// The SHA-256 of `state.json` with zeros in place of this digest, set when the checkpoint is written.
    var digest: String?
    /// The steps done.
    public var step: Int
    /// The training images consumed so far: the position of the next step in the endless stream.
    public var streamPosition: Int
    /// The run's seed.
    public var seed: UInt64
    /// The network's name, for example `WRN-22-1`.
    public var network: String
    /// The hash that identifies the data set (`ImageDataset.fingerprint()`).
    public var dataFingerprint: String
    /// The digests of all images; `nil` in checkpoints of older programs.
    public var dataDigest: String?
    /// The steps that had no update, because their numbers were not finite; `nil` if there are none.
    public var skippedSteps: Int?
    /// Every setting by its flag's name.
    public var configuration: [String: String]
    /// Length and SHA-256 of the other files by name, set when the checkpoint is written.
    var files: [String: FileDigest] = [:]

    /// Creates the state of a run after a step.
    public init(
      step: Int, streamPosition: Int, seed: UInt64, network: String, dataFingerprint: String,
      dataDigest: String? = nil, configuration: [String: String]
    ) {
      self.step = step
      self.streamPosition = streamPosition
      self.seed = seed
      self.network = network
      self.dataFingerprint = dataFingerprint
      self.dataDigest = dataDigest
      self.configuration = configuration
    }
  }

  static let modelFile = "model.safetensors"
  static let optimizerFile = "optimizer.safetensors"
  static let averageFile = "average.safetensors"
  static let stateFile = "state.json"

  /// The directory or file.
  public let path: String
  /// The contents of `state.json`; `nil` for a bare file.
  public let state: State?
  /// A sentence for each newer checkpoint of a run's directory that was skipped.
  public private(set) var warnings: [String] = []

  /// The file with the parameters.
  var modelPath: String { state == nil ? path : "\(path)/\(Self.modelFile)" }
  /// The file with the optimizer's states; `nil` for a bare file.
  var optimizerPath: String? { state == nil ? nil : "\(path)/\(Self.optimizerFile)" }

  /// Opens a checkpoint and verifies lengths and SHA-256.
  ///
  /// - Parameter path: A checkpoint directory, a bare `.safetensors` file, or a run's directory, whose latest checkpoint
  ///   is opened.
  /// - Throws: ``CheckpointError`` with the file and what is wrong with it.
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
      for directory in [path, "\(path)/checkpoints"] {
        let (latest, warnings) = try CheckpointDirectory(directory).latest()
        if let latest {
          self = latest
          self.warnings = warnings
          return
        }
      }
    }
    self.path = path
    state = try Self.verifiedState(path)
  }

  /// Reads `state.json` and verifies the other files.
  private static func verifiedState(_ path: String) throws -> State {
    guard let data = FileManager.default.contents(atPath: "\(path)/\(stateFile)") else {
      throw CheckpointError(
        .bad, "\(path) holds no checkpoint: there is no \(stateFile) in it; is the path right?")
    }
    let state = try CheckpointState.decode(data, of: path)
    let optional = state.files.keys.filter { [averageFile, WhiteningFile.name].contains($0) }.sorted()
    for name in [modelFile, optimizerFile] + optional {
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

extension Checkpoint {
  /// The name, type and shape of one tensor of a checkpoint.
  public struct TensorDescription: Hashable, Sendable {
    /// PyTorch's name.
    public let name: String
    /// The element type as the format spells it.
    public let type: String
    /// The dimensions in the file.
    public let shape: Shape
  }

  /// The tensors of the model's file, in the order of the file.
  ///
  /// - Throws: ``CheckpointError`` if the file is invalid.
  public func tensors() throws -> [TensorDescription] {
    try SafetensorsFile(modelPath).entries.map {
      TensorDescription(name: $0.name, type: $0.type, shape: $0.shape)
    }
  }

  /// Returns the SHA-256 over all tensors of model and optimizer, in the order of their names.
  ///
  /// Each contributes its name, a zero byte, its dimensions joined by commas, a zero byte, and its bytes. So two
  /// checkpoints have equal digests if and only if they are bitwise identical.
  ///
  /// - Throws: ``CheckpointError`` if a file is invalid.
  public func digest() throws -> String {
    let files = try ([modelPath] + [optimizerPath].compactMap { $0 }).map(SafetensorsFile.init)
    let pairs = files.flatMap { file in file.entries.map { (file, $0) } }
    var hash = FileHash()
    for (file, entry) in pairs.sorted(by: { $0.1.name.utf8.lexicographicallyPrecedes($1.1.name.utf8) }) {
      let shape = entry.shape.dimensions.map(String.init).joined(separator: ",")
      hash.update("\(entry.name)\0\(shape)\0")
      file.withBytes(of: entry) { hash.update($0) }
    }
    return hash.finalize().sha256
  }
}

extension ModelState {
  /// The parameters and running statistics, with their names in a file.
  package var modelTensors: [FileTensor] {
    graph.parameterLayout.parameters.map { FileTensor($0.name, $0, in: parameters) }
      + graph.statisticsLayout.parameters.map { FileTensor($0.name, $0, in: runningStatistics) }
  }

  /// The optimizer's states, with their names in a file: `<state>.<parameter>`.
  var optimizerTensors: [FileTensor] {
    optimizerStates.flatMap { name, store in
      graph.parameterLayout.parameters.map { FileTensor("\(name).\($0.name)", $0, in: store) }
    }
  }
}

/// A checkpoint or other run file that cannot be read or written.
public struct CheckpointError: Error, CustomStringConvertible, Sendable {
  /// The kind of an error, which decides the exit code.
  public enum Kind: Sendable {
    /// The contents are invalid, or the file does not exist.
    case bad
    /// The file or directory cannot be created.
    case cannotCreate
    /// Reading or writing failed.
    case inputOutput
  }

  /// The kind of the error.
  public let kind: Kind
  /// One sentence: which file, what is wrong, how to fix it.
  public let description: String

  /// Creates an error with its sentence.
  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }

  /// The exit code: 65, 73 or 74.
  public var exitCode: Int32 {
    switch kind {
    case .bad: 65
    case .cannotCreate: 73
    case .inputOutput: 74
    }
  }
}

/// A file's length and SHA-256.
struct FileDigest: Codable, Hashable, Sendable {
  /// The length in bytes.
  let bytes: Int
  /// SHA-256 in lower-case hexadecimal.
  let sha256: String

  /// Reads a file and returns its digest; `nil` if the file cannot be read.
  static func of(_ path: String) -> FileDigest? {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else {
      return nil
    }
    var hash = FileHash()
    data.withUnsafeBytes { hash.update($0) }
    return hash.finalize()
  }
}

/// A running SHA-256 that counts bytes.
struct FileHash {
  private let hash = SHA256()
  private var count = 0

  /// Appends bytes.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    hash.update(bytes)
    count += bytes.count
  }

  /// Appends the UTF-8 bytes of a text.
  mutating func update(_ text: String) { Array(text.utf8).withUnsafeBytes { update($0) } }

  /// Returns the digest of everything appended.
  func finalize() -> FileDigest {
    FileDigest(bytes: count, sha256: hash.finalize().hexadecimal)
  }
}
