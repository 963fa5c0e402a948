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
