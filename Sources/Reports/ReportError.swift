/// A report that cannot be made.
public struct ReportError: Error, CustomStringConvertible, Sendable {
  /// The kind of an error, which decides the exit code.
  public enum Kind: Int32, Sendable {
    /// No run, or a directory that is none: 65.
    case bad = 65
    /// A tool that is not installed: 69.
    case missingTool = 69
    /// A defect of the program: 70.
    case `internal` = 70
  }

  /// The kind of the error.
  public let kind: Kind
  /// One sentence: what is wrong; how to fix it.
  public let description: String

  /// Creates an error from its sentence.
  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }

  /// The exit code: 65, 69 or 70.
  public var exitCode: Int32 { kind.rawValue }
}
