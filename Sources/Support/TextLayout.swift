/// Columns of plain-text tables; widths count characters.
extension String {
  /// Returns the text padded with spaces on the right to `width` characters; a longer text is unchanged.
  public func leftAligned(_ width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }

  /// Returns the text padded with spaces on the left to `width` characters; a longer text is unchanged.
  public func rightAligned(_ width: Int) -> String {
    String(repeating: " ", count: max(0, width - count)) + self
  }

  /// Returns exactly `width` characters: the text padded with spaces on the right, or truncated.
  public func fitted(_ width: Int) -> String { String(prefix(width)).leftAligned(width) }
}
