import Crypto
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
        if let latest = try CheckpointDirectory(folder).latest().checkpoint {
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
      let shape = entry.shape.dimensions.map(String.init).joined(separator: ",")
      hash.update("\(entry.name)\0\(shape)\0")
      file.withBytes(of: entry) { hash.update($0) }
    }
    return hash.finish().sha256
  }
}

/// A checkpoint or other run file that cannot be read or written.
public struct CheckpointError: Error, CustomStringConvertible, Sendable {
  /// What went wrong, which decides the exit code.
  public enum Kind: Sendable {
    /// The contents are not what they should be, or there is nothing.
    case bad
    /// The file or folder cannot be created.
    case cannotCreate
    /// Reading or writing failed on the way.
    case inputOutput
  }

  /// What went wrong.
  public let kind: Kind
  /// One sentence: which file, what is wrong, how to mend it.
  public let description: String

  /// Makes an error from its sentence.
  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }

  /// 65, 73 or 74; see the command line's contract.
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
  /// The length.
  let bytes: Int
  /// SHA-256 in lower-case hexadecimal.
  let sha256: String

  /// Reads a file.
  ///
  /// - Returns: nil if it cannot be read.
  static func of(_ path: String) -> FileDigest? {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else {
      return nil
    }
    var hash = FileHash()
    data.withUnsafeBytes { hash.update($0) }
    return hash.finish()
  }
}

/// A running SHA-256 that counts bytes.
struct FileHash {
  private var hash = SHA256()
  private var count = 0

  /// Takes in bytes.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    hash.update(bufferPointer: bytes)
    count += bytes.count
  }

  /// Takes in a text.
  mutating func update(_ text: String) { Array(text.utf8).withUnsafeBytes { update($0) } }

  /// The digest of everything taken in.
  func finish() -> FileDigest {
    let hex = hash.finalize().map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0" + text : text
    }.joined()
    return FileDigest(bytes: count, sha256: hex)
  }
}
