import Support
import Testing

@Suite struct TextLayoutTests {
  @Test func shorterTextIsPadded() {
    #expect("ab".leftAligned(4) == "ab  " && "ab".rightAligned(4) == "  ab" && "ab".fitted(4) == "ab  ")
    #expect("".leftAligned(2) == "  " && "".rightAligned(2) == "  " && "".fitted(2) == "  ")
  }

  @Test func longerTextIsKeptOrTruncated() {
    #expect("abcde".leftAligned(3) == "abcde" && "abcde".rightAligned(3) == "abcde")
    #expect("abcde".fitted(3) == "abc" && "abcde".fitted(0) == "")
  }

  /// A combining accent and a flag are one column each.
  @Test func widthsCountCharacters() {
    #expect("e\u{301}🇸🇪".leftAligned(3) == "e\u{301}🇸🇪 ")
    #expect("e\u{301}🇸🇪".fitted(1) == "e\u{301}")
  }
}
