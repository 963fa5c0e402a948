/// A data set that is missing or bad.
public struct DatasetError: Error, CustomStringConvertible, Sendable {
  /// One sentence: which file, what is wrong, how to mend it.
  public let description: String

  /// Makes an error from its sentence.
  public init(_ description: String) { self.description = description }
}
