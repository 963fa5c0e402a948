/// An exchange between ranks that failed.
public struct CommunicationError: Error, CustomStringConvertible {
  /// One sentence: the call, the rank and the cause.
  public let description: String

  /// Makes an error from its sentence.
  public init(_ description: String) { self.description = description }
}
