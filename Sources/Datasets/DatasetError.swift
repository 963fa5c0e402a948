/// A data set that is missing or bad, or one that cannot be written.
public struct DatasetError: Error, CustomStringConvertible, Sendable {
  /// What went wrong, which decides the exit code.
  public enum Kind: Sendable {
    /// The data set is missing or bad.
    case bad
    /// A data set cannot be written.
    case cannotCreate
  }

  /// What went wrong.
  public let kind: Kind
  /// One sentence: which file, what is wrong, how to mend it.
  public let description: String

  /// Makes an error from its sentence.
  public init(_ description: String, kind: Kind = .bad) {
    self.kind = kind
    self.description = description
  }
}
