import Foundation

/// A log at whose end a run writes; what cannot be written waits in memory, so that a full disk does not stop the run.
///
/// Order and contents are those of a log that could always be written. Appending allocates nothing while that is so.
package final class LogFile {
  /// The file.
  let file: OutputFile
  /// The reason why bytes wait in memory; `nil` if none do.
  package private(set) var failure: CheckpointError?
  private var pending: [UInt8] = []

  /// Opens the log.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  package init(_ path: String, _ mode: OutputFile.Mode) throws { file = try OutputFile(path, mode) }

  /// Appends bytes.
  package func append(_ bytes: UnsafeRawBufferPointer) {
    if failure != nil {
      pending.append(contentsOf: bytes)
      try? flush()
      return
    }
    var done = 0
    do { try file.write(bytes, done: &done) } catch {
      failure = Self.failure(error, file)
      pending.append(contentsOf: bytes[done...])
    }
  }

  /// Writes what waits in memory.
  ///
  /// - Throws: ``CheckpointError`` if some of it still cannot be written.
  package func flush() throws {
    guard failure != nil else { return }
    var done = 0
    defer { pending.removeFirst(done) }
    do { try pending.withUnsafeBytes { try file.write($0, done: &done) } } catch {
      failure = Self.failure(error, file)
      throw error
    }
    failure = nil
  }

  private static func failure(_ error: any Error, _ file: OutputFile) -> CheckpointError {
    error as? CheckpointError ?? CheckpointError(.inputOutput, "writing \(file.path) failed: \(error).")
  }
}
