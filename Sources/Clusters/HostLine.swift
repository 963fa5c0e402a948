/// One line of a host file.
enum HostLine {
  /// Why a line cannot be used: a sentence without a full stop.
  struct Problem: Error {
    let text: String

    init(_ text: String) { self.text = text }
  }

  /// Reads a line of any form.
  ///
  /// - Parameters:
  ///   - text: The line without its end.
  ///   - number: Its number, from 1.
  ///   - notes: Receives warnings.
  /// - Returns: Its hosts; none if it is blank or a comment.
  /// - Throws: ``Problem`` if nobody can use it.
  static func parse(
    _ text: String, number: Int, notes: inout [HostFile.Finding]
  ) throws(Problem) -> [HostFile.Entry] {
    let words = words(of: text)
    guard let first = words.first else { return [] }
    let form: HostFile.Form
    var names: [String]
    var slots: Int?
    if SlurmNodeList.isList(first) {
      form = .slurm
      names = try SlurmNodeList.expand(first)
    } else if let (name, count) = try mpichHost(first) {
      form = .mpich
      names = [name]
      slots = count
    } else {
      form = .openMPI
      names = [first.hasPrefix("[") && first.hasSuffix("]") ? String(first.dropFirst().dropLast()) : first]
    }
    for name in names { try check(name: name) }
    var most: Int?
    for word in words.dropFirst() {
      let pair = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard pair.count == 2 else {
        let advice = Int(word) == nil ? "one host a line" : "\(first) slots=\(word)"
        throw Problem("'\(word)' after \(first) means nothing; write \(advice)")
      }
      switch pair[0] {
      case "slots", "cpu", "count":
        guard slots == nil else { throw Problem("the slots of \(first) are given twice; give them once") }
        slots = try count(pair[1], of: word)
      case "max_slots", "max-slots", "slots_max", "slots-max", "cpu_max", "cpu-max", "count_max", "count-max":
        guard most == nil else { throw Problem("the most slots of \(first) are given twice; give them once") }
        most = try count(pair[1], of: word)
      default:
        guard form == .mpich else {
          throw Problem("\(pair[0])= is no setting of a host file; Open MPI knows slots= and max_slots=")
        }
        notes.append(
          HostFile.Finding(
            .warning, line: number, "\(word) is left out: Open MPI's host files have nothing like it"))
      }
    }
    if let slots, let most, most < slots {
      throw Problem("max_slots=\(most) is less than slots=\(slots); raise it or leave it out")
    }
    let (allSlots, allMost) = (slots, most)
    return names.map {
      HostFile.Entry(name: $0, slots: allSlots, maximumSlots: allMost, form: form, line: number)
    }
  }

  /// The words before a comment; blanks round `=` are taken out, as Open MPI does.
  private static func words(of text: String) -> [String] {
    var content = text[...]
    for mark in ["#", "//"] {
      if let range = content.firstRange(of: mark) { content = content[..<range.lowerBound] }
    }
    var words: [String] = []
    var joinsNext = false
    for part in content.split(whereSeparator: { $0 == " " || $0 == "\t" }) {
      if joinsNext || (part.hasPrefix("=") && !words.isEmpty) {
        words[words.count - 1] += part
      } else {
        words.append(String(part))
      }
      joinsNext = part.hasSuffix("=")
    }
    return words
  }

  /// Reads `host:4` or `[address]:4`; nil for anything else, IPv6 addresses included.
  private static func mpichHost(_ word: String) throws(Problem) -> (name: String, slots: Int?)? {
    guard let colon = word.lastIndex(of: ":") else { return nil }
    let name = word[..<colon]
    let isBracketed = name.hasPrefix("[") && name.hasSuffix("]")
    guard isBracketed || !name.contains(":") else { return nil }
    let plain = isBracketed ? String(name.dropFirst().dropLast()) : String(name)
    return (plain, try count(String(word[word.index(after: colon)...]), of: word))
  }

  private static func count(_ text: String, of word: String) throws(Problem) -> Int {
    guard let value = Int(text), (1...1_000_000).contains(value) else {
      throw Problem("'\(text)' in \(word) is no number of ranks; write a positive number, or leave the host out")
    }
    return value
  }

  /// Refuses names that `mpirun` or `ssh` would misread.
  private static func check(name: String) throws(Problem) {
    let parts = name.split(separator: "@", omittingEmptySubsequences: false)
    let isAddress = name.contains(":") && name.allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." || $0 == "%" }
    let isName =
      parts.count <= 2
      && parts.allSatisfy { part in
        !part.isEmpty && !part.hasPrefix("-") && !part.hasPrefix(".")
          && part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == ".") || $0 == "_" }
      }
    guard isAddress || isName, name.count <= 255 else {
      throw Problem("'\(name)' is no host name; names have letters, digits, '-' and '.'")
    }
    if !isAddress, let host = parts.last, host.contains("_") {
      throw Problem("'\(host)' has an underscore, which mpirun cannot handle in a host name; use the host's address")
    }
  }
}
