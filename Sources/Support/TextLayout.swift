extension String {
  /// Returns the text, filled with spaces on the right to `width` characters; longer text stays whole.
  public func leftAligned(_ width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }

  /// Returns the text, filled with spaces on the left to `width` characters; longer text stays whole.
  public func rightAligned(_ width: Int) -> String {
    String(repeating: " ", count: max(0, width - count)) + self
  }

  /// Returns exactly `width` characters: the text filled with spaces on the right, or cut.
  public func fitted(_ width: Int) -> String { String(prefix(width)).leftAligned(width) }
}
