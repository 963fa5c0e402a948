/// The parser of Slurm's compressed node lists: `node[01-04,07],gpu[1-2]-ib,login`.
enum SlurmNodeList {
  /// The maximum number of hosts per list; more is treated as a typing error.
  static let maximumCount = 65_536

  /// Returns whether a word is a list, and not an address in brackets.
  static func isList(_ word: String) -> Bool {
    if word.contains(",") { return true }
    guard let open = word.firstIndex(of: "["), word.firstIndex(of: ":") == nil else { return false }
    return open != word.startIndex || word.contains("-")
  }

  /// Expands a list.
  ///
  /// - Parameter list: Names separated by commas, each with any number of `[…]` of numbers and ranges.
  /// - Returns: The names, in order, with leading zeros.
  /// - Throws: `HostLine.Problem` if a bracket or a range is invalid.
  static func expand(_ list: String) throws(HostLine.Problem) -> [String] {
    var result: [String] = []
    for item in try split(list) {
      result += try names(item[...])
      guard result.count <= maximumCount else {
        throw HostLine.Problem("\(list) names more than \(maximumCount) hosts; is a range too long?")
      }
    }
    return result
  }

  /// Splits at commas outside brackets.
  private static func split(_ list: String) throws(HostLine.Problem) -> [String] {
    var items = [""]
    var depth = 0
    for character in list {
      if character == "[" { depth += 1 }
      if character == "]" { depth -= 1 }
      guard depth == 0 || depth == 1 else { break }
      if character == "," && depth == 0 {
        items.append("")
      } else {
        items[items.count - 1].append(character)
      }
    }
    guard depth == 0 else {
      throw HostLine.Problem("\(list) has an unmatched bracket; Slurm writes node[01-04,07]")
    }
    guard !items.contains("") else {
      throw HostLine.Problem("\(list) has an empty name between commas; remove the comma")
    }
    return items
  }

  /// Expands the first bracket of a name, then those after it.
  private static func names(_ item: Substring) throws(HostLine.Problem) -> [String] {
    guard let open = item.firstIndex(of: "["), let close = item.firstIndex(of: "]"), open < close else {
      return [String(item)]
    }
    let ends = try names(item[item.index(after: close)...])
    var result: [String] = []
    for range in item[item.index(after: open)..<close].split(separator: ",", omittingEmptySubsequences: false) {
      for number in try numbers(range, of: item) {
        for end in ends { result.append(item[..<open] + number + end) }
      }
      guard result.count <= maximumCount else {
        throw HostLine.Problem("\(item) names more than \(maximumCount) hosts; is a range too long?")
      }
    }
    return result
  }

  /// Expands `07` or `01-04`.
  private static func numbers(_ range: Substring, of item: Substring) throws(HostLine.Problem) -> [String] {
    let bounds = range.split(separator: "-", omittingEmptySubsequences: false)
    guard (1...2).contains(bounds.count), bounds.allSatisfy({ $0.allSatisfy(\.isNumber) }),
      let first = bounds.first.flatMap({ Int($0) }), let last = bounds.last.flatMap({ Int($0) }), first <= last,
      last - first < maximumCount
    else {
      throw HostLine.Problem(
        "[\(range)] in \(item) is neither a number nor an ascending range; Slurm writes node[01-04,07]")
    }
    let width = bounds[0].count
    return (first...last).map { number in
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
  }
}
