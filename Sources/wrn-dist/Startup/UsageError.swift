/// An invalid flag, value or combination.
struct UsageError: Error, CustomStringConvertible {
  /// One sentence: what is wrong; how to fix it.
  let description: String

  init(_ description: String) { self.description = description }
}
