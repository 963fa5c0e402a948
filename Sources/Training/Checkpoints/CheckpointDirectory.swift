import Foundation
import Glibc
import Models
import Tensors

/// A run's `checkpoints/`: directories `step-00001000`, and `latest`, a text file with the name of the newest.
///
/// A checkpoint is written under a hidden name and renamed when all of it is on the disk, so a directory with a
/// checkpoint's name is always complete. Older ones are removed only after that.
package struct CheckpointDirectory {
  /// The directory.
  package let path: String

  /// Creates a reference to a directory, which need not exist.
  package init(_ path: String) { self.path = path }

  /// The name of the checkpoint of a step.
  package static func name(step: Int) -> String {
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// Opens the newest valid checkpoint.
  ///
  /// - Returns: The checkpoint, `nil` if there is none, and a sentence for each one that was skipped.
  /// - Throws: ``CheckpointError`` if there are checkpoints but none is valid, or all have been removed.
  package func latest() throws -> (checkpoint: Checkpoint?, warnings: [String]) {
    // `latest` decides: after a resume from an older checkpoint the directory may contain later ones.
    let noted = (try? String(contentsOfFile: "\(path)/latest", encoding: .utf8))?
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let names = stepNames.reversed()
    let candidates = names.filter { $0 == noted } + names.filter { $0 != noted }
    var warnings: [String] = []
    for name in candidates {
      do {
        return (try Checkpoint("\(path)/\(name)"), warnings)
      } catch let error as CheckpointError {
        warnings.append("skipped \(path)/\(name): \(error.description)")
      }
    }
    if let first = warnings.first {
      throw CheckpointError(.bad, "no checkpoint in \(path) is valid; \(first)")
    }
    if let noted {
      throw CheckpointError(
        .bad, "\(path)/latest names \(noted), which is gone; restore it, or give another --output-dir.")
    }
    return (nil, [])
  }

  /// Writes a checkpoint, makes it the latest, and removes old ones.
  ///
  /// - Parameters:
  ///   - model: The model, with all optimizer states.
  ///   - average: The averaged weights, if there are any.
  ///   - whitening: The whitening of the images, if there is one.
  ///   - state: The contents of `state.json`, except the files' digests.
  ///   - keeping: The number of checkpoints to keep; 0 for all.
  /// - Throws: ``CheckpointError`` if a file cannot be written; older checkpoints are unchanged then.
  package func save(
    _ model: ModelState, average: ModelState? = nil, whitening: ParameterStore? = nil, state: Checkpoint.State,
    keeping: Int
  ) throws {
    let name = Self.name(step: state.step)
    let temporary = "\(path)/.\(name).tmp"
    let target = "\(path)/\(name)"
    try? FileManager.default.removeItem(atPath: temporary)
    guard mkdir(temporary, 0o755) == 0 else {
      throw CheckpointError(.cannotCreate, "\(temporary) cannot be created: \(OutputFile.reason).")
    }
    do {
      var state = state
      state.files[Checkpoint.modelFile] = try SafetensorsWriter.write(
        model.modelTensors, to: "\(temporary)/\(Checkpoint.modelFile)")
      state.files[Checkpoint.optimizerFile] = try SafetensorsWriter.write(
        model.optimizerTensors, to: "\(temporary)/\(Checkpoint.optimizerFile)")
      if let average {
        state.files[Checkpoint.averageFile] = try SafetensorsWriter.write(
          average.modelTensors, to: "\(temporary)/\(Checkpoint.averageFile)")
      }
      if let whitening {
        let tensors = whitening.layout.parameters.map { FileTensor($0.name, $0, in: whitening) }
        state.files[WhiteningFile.name] = try SafetensorsWriter.write(tensors, to: "\(temporary)/\(WhiteningFile.name)")
      }
      try write(try Self.encode(state), to: "\(temporary)/\(Checkpoint.stateFile)")
      try OutputFile.synchronizeDirectory(temporary)
      try publish(temporary, at: target)
      try OutputFile.synchronizeDirectory(path)
      try write(Data("\(name)\n".utf8), to: "\(path)/.latest.tmp")
      try OutputFile.rename("\(path)/.latest.tmp", to: "\(path)/latest")
      try OutputFile.synchronizeDirectory(path)
    } catch {
      try? FileManager.default.removeItem(atPath: temporary)
      throw error
    }
    removeOld(keeping: keeping, newest: name)
  }

  /// The checkpoint that was noted as the best one, and its accuracy on the held-out images; `nil` if none was.
  var best: (name: String, accuracy: Double)? {
    let words = (try? String(contentsOfFile: "\(path)/best", encoding: .utf8))?.split(whereSeparator: \.isWhitespace)
    guard let words, words.count == 2, let accuracy = Double(words[1]) else { return nil }
    return (String(words[0]), accuracy)
  }

  /// Notes a checkpoint as the best one: pruning spares it.
  ///
  /// - Parameters:
  ///   - step: The checkpoint's step.
  ///   - accuracy: Its accuracy on the held-out images.
  /// - Throws: ``CheckpointError`` if the file cannot be written.
  func markBest(step: Int, accuracy: Double) throws {
    try write(Data("\(Self.name(step: step)) \(accuracy)\n".utf8), to: "\(path)/.best.tmp")
    try OutputFile.rename("\(path)/.best.tmp", to: "\(path)/best")
  }

  /// The checkpoints' names, oldest first.
  private var stepNames: [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return all.filter { $0.hasPrefix("step-") }.sorted()
  }

  /// Renames a complete directory, and removes one of that name that a resume from an older checkpoint left.
  private func publish(_ temporary: String, at target: String) throws {
    guard FileManager.default.fileExists(atPath: target) else {
      return try OutputFile.rename(temporary, to: target)
    }
    let replaced = temporary + ".replaced"
    try? FileManager.default.removeItem(atPath: replaced)
    try OutputFile.rename(target, to: replaced)
    try OutputFile.rename(temporary, to: target)
    try? FileManager.default.removeItem(atPath: replaced)
  }

  private func removeOld(keeping: Int, newest: String) {
    guard keeping > 0 else { return }
    let best = best?.name
    for name in stepNames.filter({ $0 != newest }).dropLast(keeping - 1) where name != best {
      try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
    }
  }

  private func write(_ data: Data, to path: String) throws {
    let file = try OutputFile(path)
    try data.withUnsafeBytes { try file.write($0) }
    try file.close()
  }

  private static func encode(_ state: Checkpoint.State) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(state)
  }
}
