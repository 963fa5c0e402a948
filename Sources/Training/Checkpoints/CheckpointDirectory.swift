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
  /// - Parameter settingAside: Whether to rename damaged ones to `step-….corrupt`, so that no later run considers them.
  ///   They are never deleted, and keep their names if no checkpoint is valid.
  /// - Returns: The checkpoint, `nil` if there is none, and a sentence for each one that was skipped.
  /// - Throws: ``CheckpointError`` if there are checkpoints but none is valid, or all have been removed.
  package func latest(settingAside: Bool = false) throws -> (checkpoint: Checkpoint?, warnings: [String]) {
    // `latest` decides: after a resume from an older checkpoint the directory may contain later ones.
    let noted = (try? String(contentsOfFile: "\(path)/latest", encoding: .utf8))?
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let names = stepNames.reversed()
    let candidates = names.filter { $0 == noted } + names.filter { $0 != noted }
    var warnings: [String] = []
    if let noted, !names.isEmpty, !names.contains(noted) {
      warnings.append("\(path)/latest names \(noted), which is gone; an older checkpoint is used")
    }
    var damaged: [String] = []
    for name in candidates {
      do {
        let checkpoint = try Checkpoint("\(path)/\(name)")
        if settingAside { warnings += damaged.compactMap(setAside) }
        return (checkpoint, warnings)
      } catch let error as CheckpointError {
        damaged.append(name)
        warnings.append("skipped \(path)/\(name): \(error.description)")
      }
    }
    if let first = warnings.last {
      throw CheckpointError(.bad, "no checkpoint in \(path) is valid; \(first)")
    }
    if let noted {
      throw CheckpointError(
        .bad, "\(path)/latest names \(noted), which is gone; restore it, or give another --output-dir.")
    }
    return (nil, [])
  }

  /// Renames a damaged checkpoint and returns a sentence about it; `nil` if it cannot be renamed.
  private func setAside(_ name: String) -> String? {
    var target = "\(name).corrupt"
    var number = 1
    while FileManager.default.fileExists(atPath: "\(path)/\(target)") {
      number += 1
      target = "\(name).corrupt-\(number)"
    }
    guard rename("\(path)/\(name)", "\(path)/\(target)") == 0 else { return nil }
    return "renamed \(path)/\(name) to \(target); it is kept for examination and can be deleted"
  }

  /// A moment during the write of a checkpoint, at which a test can inject a fault.
  package enum WritePoint: String, Sendable, CaseIterable {
    /// Before the temporary directory is created.
    case create
    /// Before the tensors are written.
    case write
    /// Before `state.json` is written.
    case state
    /// Before the temporary directory is synchronized.
    case sync
    /// Before the files are read again.
    case verify
    /// Before the directory gets its name.
    case rename
    /// Before `latest` is written.
    case latest
    /// Before old checkpoints are removed.
    case prune
    /// After an old checkpoint has lost its name.
    case remove
  }

  /// The checkpoints that are kept besides the newest and the best.
  package struct Retention: Sendable, Hashable {
    /// The number of newest checkpoints, the one just written included; 0 for all.
    package var newest: Int
    /// Checkpoints whose steps are multiples are kept for ever; 0 for none.
    package var every: Int

    /// Creates a retention.
    package init(newest: Int, every: Int = 0) {
      self.newest = newest
      self.every = every
    }
  }

  /// Writes a checkpoint, reads it again, makes it the latest, and removes old ones.
  ///
  /// - Parameters:
  ///   - model: The model, with all optimizer states.
  ///   - average: The averaged weights, if there are any.
  ///   - whitening: The whitening of the images, if there is one.
  ///   - state: The contents of `state.json`, except the files' digests.
  ///   - keeping: The checkpoints to keep.
  ///   - reaching: Called at every point; a test throws or ends the process there.
  ///   - progress: Called after every tensor.
  /// - Throws: ``CheckpointError`` if a file cannot be written; older checkpoints are unchanged then.
  package func save(
    _ model: ModelState, average: ModelState? = nil, whitening: ParameterStore? = nil, state: Checkpoint.State,
    keeping: Retention, reaching: (WritePoint) throws -> Void = { _ in }, progress: () -> Void = {}
  ) throws {
    let name = Self.name(step: state.step)
    let temporary = "\(path)/.\(name).tmp"
    let target = "\(path)/\(name)"
    recover()
    try reaching(.create)
    guard mkdir(temporary, 0o755) == 0 else {
      throw CheckpointError(.cannotCreate, "\(temporary) cannot be created: \(OutputFile.reason).")
    }
    do {
      try reaching(.write)
      var state = state
      state.files[Checkpoint.modelFile] = try SafetensorsWriter.write(
        model.modelTensors, to: "\(temporary)/\(Checkpoint.modelFile)", progress: progress)
      state.files[Checkpoint.optimizerFile] = try SafetensorsWriter.write(
        model.optimizerTensors, to: "\(temporary)/\(Checkpoint.optimizerFile)", progress: progress)
      if let average {
        state.files[Checkpoint.averageFile] = try SafetensorsWriter.write(
          average.modelTensors, to: "\(temporary)/\(Checkpoint.averageFile)", progress: progress)
      }
      if let whitening {
        let tensors = whitening.layout.parameters.map { FileTensor($0.name, $0, in: whitening) }
        state.files[WhiteningFile.name] = try SafetensorsWriter.write(tensors, to: "\(temporary)/\(WhiteningFile.name)")
      }
      try reaching(.state)
      try write(try CheckpointState.encode(state), to: "\(temporary)/\(Checkpoint.stateFile)")
      try reaching(.sync)
      try OutputFile.synchronizeDirectory(temporary)
      try reaching(.verify)
      try verify(temporary, state)
      try reaching(.rename)
      try publish(temporary, at: target)
      try OutputFile.synchronizeDirectory(path)
      try reaching(.latest)
      try setLatest(name)
    } catch {
      try? FileManager.default.removeItem(atPath: temporary)
      throw error
    }
    try reaching(.prune)
    try removeOld(keeping: keeping, newest: name, reaching: reaching)
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
    // The log's last line of the evaluation, which follows, must not outlive this file in a power failure.
    try OutputFile.synchronizeDirectory(path)
  }

  /// Reads a checkpoint that has just been written, from the disk if the system has dropped its copy as asked.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput` if it has other bytes than were written.
  private func verify(_ directory: String, _ state: Checkpoint.State) throws {
    for name in state.files.keys {
      let descriptor = open("\(directory)/\(name)", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
      close(descriptor)
    }
    do { _ = try Checkpoint(directory) } catch {
      throw CheckpointError(
        .inputOutput,
        "the checkpoint of step \(state.step) is not on the disk as it was written (\(error)); the older checkpoints are kept; "
          + "check the disk and its file system.")
    }
  }

  /// Makes a checkpoint the one from which the run resumes.
  ///
  /// - Parameter name: The checkpoint's name.
  /// - Throws: ``CheckpointError`` if the file cannot be written.
  package func setLatest(_ name: String) throws {
    try write(Data("\(name)\n".utf8), to: "\(path)/.latest.tmp")
    try OutputFile.rename("\(path)/.latest.tmp", to: "\(path)/latest")
    try OutputFile.synchronizeDirectory(path)
  }

  /// Removes what a killed run has left: temporary directories of any step, and directories that were being removed.
  ///
  /// A checkpoint that was being replaced gets its name back. Only the holder of the run's lease may call it.
  package func recover() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] where name.hasPrefix(".step-") {
      let leftover = "\(path)/\(name)"
      if name.hasSuffix(Self.replacedSuffix) {
        let original = "\(path)/\(name.dropFirst().prefix { $0 != "." })"
        if !FileManager.default.fileExists(atPath: original), rename(leftover, original) == 0 { continue }
      }
      try? FileManager.default.removeItem(atPath: leftover)
    }
  }

  private static let replacedSuffix = ".replaced"

  /// The checkpoints' names, oldest first.
  private var stepNames: [String] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return all.filter { $0.wholeMatch(of: /step-[0-9]+/) != nil }.sorted()
  }

  /// Renames a complete directory, and removes one of that name that a resume from an older checkpoint left.
  private func publish(_ temporary: String, at target: String) throws {
    guard FileManager.default.fileExists(atPath: target) else {
      return try OutputFile.rename(temporary, to: target)
    }
    let replaced = "\(path)/.\(URL(fileURLWithPath: target).lastPathComponent)\(Self.replacedSuffix)"
    try OutputFile.rename(target, to: replaced)
    try OutputFile.rename(temporary, to: target)
    try? FileManager.default.removeItem(atPath: replaced)
  }

  /// Removes old checkpoints: each loses its name first, so that a directory with a checkpoint's name is never incomplete.
  private func removeOld(keeping: Retention, newest: String, reaching: (WritePoint) throws -> Void) rethrows {
    guard keeping.newest > 0 else { return }
    let best = best?.name
    for name in stepNames.filter({ $0 != newest }).dropLast(keeping.newest - 1) where name != best {
      if keeping.every > 0, Int(name.dropFirst(5))?.isMultiple(of: keeping.every) == true { continue }
      let removed = "\(path)/.\(name).removed"
      guard rename("\(path)/\(name)", removed) == 0 else { continue }
      try reaching(.remove)
      try? FileManager.default.removeItem(atPath: removed)
    }
  }

  private func write(_ data: Data, to path: String) throws {
    let file = try OutputFile(path, .new)
    try data.withUnsafeBytes { try file.write($0) }
    try file.close()
  }
}
