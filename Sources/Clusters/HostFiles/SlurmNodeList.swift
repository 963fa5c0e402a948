/// Slurm's compressed lists of nodes: `node[01-04,07],gpu[1-2]-ib,login`.
enum SlurmNodeList {
  /// The most nodes that a list may name; more is taken for a slip of the pen.
  static let maximumCount = 65_536

  /// Tells whether a word is such a list and no address in brackets.
  static func isList(_ word: String) -> Bool {
    if word.contains(",") { return true }
    guard let open = word.firstIndex(of: "["), word.firstIndex(of: ":") == nil else { return false }
    return open != word.startIndex || word.contains("-")
  }

  /// Expands a list.
  ///
  /// - Parameter list: Names separated by commas, each with any number of `[…]` of numbers and ranges.
  /// - Returns: The names, in order; leading zeros are kept.
  /// - Throws: `HostLine.Problem` if a bracket or a range is wrong.
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

  /// Cuts at commas outside brackets.
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
      throw HostLine.Problem("\(list) has a bracket without its partner; Slurm writes node[01-04,07]")
    }
    guard !items.contains("") else {
      throw HostLine.Problem("\(list) has an empty name between commas; take the comma out")
    }
    return items
  }

  /// Expands the first bracket of a name, and those behind it.
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
      throw HostLine.Problem("[\(range)] in \(item) is no number and no rising range; Slurm writes node[01-04,07]")
    }
    let width = bounds[0].count
    return (first...last).map { number in
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
  }
}
