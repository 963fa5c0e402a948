import Foundation

/// The encoding of a checkpoint's `state.json`, which holds a digest of itself.
///
/// The digest is computed over the file's bytes with zeros in its own place, so any other byte that changes is found, also
/// one that JSON ignores.
package enum CheckpointState {
  /// The layout that this program writes.
  static let formatVersion = 2

  private static let blankDigest = String(repeating: "0", count: 64)

  /// Returns the contents of `state.json`.
  ///
  /// - Throws: `EncodingError` if JSON cannot represent the state.
  static func encode(_ state: Checkpoint.State) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    var state = state
    state.digest = blankDigest
    return sealed(try encoder.encode(state))
  }

  /// Returns the contents of `state.json` with their digest in place of zeros; unchanged if there are no zeros.
  package static func sealed(_ data: Data) -> Data {
    guard let place = data.range(of: key(blankDigest)) else { return data }
    var sealed = data
    sealed.replaceSubrange(place, with: key(digest(of: data)))
    return sealed
  }

  /// Parses and verifies `state.json`.
  ///
  /// - Parameters:
  ///   - data: The file's contents.
  ///   - path: The checkpoint's directory.
  /// - Returns: The state.
  /// - Throws: ``CheckpointError`` if it is damaged, of another version, or contradicts itself.
  package static func decode(_ data: Data, of path: String) throws -> Checkpoint.State {
    func bad(_ what: String) -> CheckpointError {
      CheckpointError(.bad, "\(path)/\(Checkpoint.stateFile) is damaged: \(what); use an older checkpoint.")
    }
    guard let state = try? JSONDecoder().decode(Checkpoint.State.self, from: data) else {
      throw bad("it is not the JSON of a checkpoint")
    }
    guard (1...formatVersion).contains(state.formatVersion) else {
      throw CheckpointError(
        .bad,
        "\(path) has format version \(state.formatVersion), this program reads 1 to \(formatVersion); "
          + "use a newer program.")
    }
    if state.formatVersion >= 2 || state.digest != nil {
      var blank = data
      guard let digest = state.digest, let place = data.range(of: key(digest)) else { throw bad("it has no digest") }
      blank.replaceSubrange(place, with: key(blankDigest))
      guard self.digest(of: blank) == digest else { throw bad("its SHA-256 is not the one that it names") }
    }
    if let contradiction = contradiction(in: state, at: path) { throw bad(contradiction) }
    return state
  }

  /// Finds step, stream position and seed that do not fit each other, the settings, or the directory's name.
  private static func contradiction(in state: Checkpoint.State, at path: String) -> String? {
    let name = URL(fileURLWithPath: path).lastPathComponent
    let isStepName = name.wholeMatch(of: /step-[0-9]+/) != nil
    if state.step < 0 || (isStepName && name != CheckpointDirectory.name(step: state.step)) {
      return "it is that of step \(state.step)"
    }
    let (position, overflows) = state.step.multipliedReportingOverflow(
      by: state.configuration["batch-size"].flatMap { Int($0) } ?? 0)
    if state.configuration["batch-size"] != nil, overflows || position != state.streamPosition {
      return "its stream position \(state.streamPosition) is not that of step \(state.step)"
    }
    if let seed = state.configuration["seed"], seed != String(state.seed) {
      return "it has the seeds \(state.seed) and \(seed)"
    }
    return nil
  }

  private static func key(_ digest: String) -> Data { Data("\"digest\" : \"\(digest)\"".utf8) }

  private static func digest(of data: Data) -> String {
    var hash = FileHash()
    data.withUnsafeBytes { hash.update($0) }
    return hash.finalize().sha256
  }
}
