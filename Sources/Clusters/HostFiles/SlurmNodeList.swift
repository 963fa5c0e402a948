/// The parser of Slurm's compressed node lists: `node[01-04,07],gpu[1-2]-ib,login`.
enum SlurmNodeList {
  /// The usual limit of the hosts in all lists of a file, that of Slurm; more is treated as a typing error.
  static let maximumCount = 65_536
  /// The most characters of a host name, as in the DNS.
  static let maximumNameLength = 255

  /// Returns whether a word is a list, and not an address in brackets.
  static func isList(_ word: String) -> Bool {
    if word.contains(",") { return true }
    guard let open = word.firstIndex(of: "["), word.firstIndex(of: ":") == nil else { return false }
    return open != word.startIndex || word.contains("-")
  }

  /// Expands a list.
  ///
  /// - Parameters:
  ///   - list: Names separated by commas, each with any number of `[…]` of numbers and ranges.
  ///   - remaining: The most names that the file may still have, from which those of the list are subtracted.
  /// - Returns: The names, in order, with leading zeros.
  /// - Throws: `HostLine.Problem` if a bracket or a range is invalid, or if there are too many names.
  static func expand(_ list: String, remaining: inout Int) throws(HostLine.Problem) -> [String] {
    var result: [String] = []
    for item in try split(list) {
      guard item.count(where: { $0 == "[" }) <= maximumNameLength else {
        throw HostLine.Problem("\(item.prefix(40))… has too many brackets for a host name; write shorter names")
      }
      guard let names = try names(item[...], limit: remaining) else {
        remaining = 0
        throw HostLine.Problem(
          "with \(list.prefix(255)), the lists name more hosts than Slurm has; is a range too long?")
      }
      remaining -= names.count
      result += names
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

  /// Expands the first bracket of a name, then those after it; returns `nil` if there are more than `limit` names.
  private static func names(_ item: Substring, limit: Int) throws(HostLine.Problem) -> [String]? {
    guard limit > 0 else { return nil }
    guard let open = item.firstIndex(of: "["), let close = item.firstIndex(of: "]"), open < close else {
      return [String(item)]
    }
    guard let ends = try names(item[item.index(after: close)...], limit: limit) else { return nil }
    var result: [String] = []
    for range in item[item.index(after: open)..<close].split(separator: ",", omittingEmptySubsequences: false) {
      guard let numbers = try numbers(range, of: item, limit: (limit - result.count) / ends.count) else { return nil }
      for number in numbers {
        for end in ends { result.append(item[..<open] + number + end) }
      }
    }
    return result
  }

  /// Expands `07` or `01-04`; returns `nil` if there are more than `limit` numbers.
  private static func numbers(
    _ range: Substring, of item: Substring, limit: Int
  ) throws(HostLine.Problem) -> [String]? {
    let bounds = range.split(separator: "-", omittingEmptySubsequences: false)
    guard (1...2).contains(bounds.count), bounds.allSatisfy({ $0.allSatisfy(\.isNumber) }),
      let first = bounds.first.flatMap({ Int($0) }), let last = bounds.last.flatMap({ Int($0) }), first <= last,
      bounds[0].count <= maximumNameLength
    else {
      throw HostLine.Problem(
        "[\(range)] in \(item) is neither a number nor an ascending range; Slurm writes node[01-04,07]")
    }
    guard last - first < limit else { return nil }
    let width = bounds[0].count
    return (first...last).map { number in
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
  }
}
