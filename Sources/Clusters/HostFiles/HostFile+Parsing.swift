extension HostFile {
  /// Reads a host file; ``diagnostics`` has its problems.
  ///
  /// - Parameters:
  ///   - bytes: The file's contents.
  ///   - isPBSNodeFile: Whether the file is `$PBS_NODEFILE`, where a host named once has one slot. Otherwise a file of bare
  ///     names is treated as one if it names some host twice.
  public init(_ bytes: [UInt8], isPBSNodeFile: Bool = false) {
    self.init(bytes, isPBSNodeFile: isPBSNodeFile, maximumListCount: SlurmNodeList.maximumCount)
  }

  /// Reads a host file whose Slurm lists have a limited number of hosts together.
  package init(_ bytes: [UInt8], isPBSNodeFile: Bool, maximumListCount: Int) {
    guard let lines = readLines(bytes) else { return }
    var entries: [Entry] = []
    var remaining = maximumListCount
    for (i, line) in lines.enumerated() {
      do {
        for entry in try HostLine.parse(line, number: i + 1, remaining: &remaining, diagnostics: &diagnostics) {
          entries.append(entry)
          if !formats.contains(entry.format) { formats.append(entry.format) }
          if entry.format != .openMPI { diagnoseFormat(entry, text: line) }
        }
      } catch {
        diagnostics.append(Diagnostic(.fatal, line: i + 1, error.message))
      }
    }
    if entries.isEmpty && fatal == nil {
      diagnostics.append(Diagnostic(.fatal, "it names no host; write one per line, such as node01 slots=4"))
    }
    merge(entries, isPBSNodeFile: isPBSNodeFile)
    warnAboutLocalNames()
    diagnostics.sort { $0.line < $1.line }
  }

  /// One host of one line.
  struct Entry {
    let name: String
    let slots: Int?
    let maximumSlots: Int?
    let format: Format
    let line: Int
  }

  /// Splits the bytes into lines with any line ends, and diagnoses what `mpirun` cannot parse.
  private mutating func readLines(_ bytes: [UInt8]) -> [String]? {
    var bytes = bytes[...]
    if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) {
      diagnostics = [Diagnostic(.fatal, "it is UTF-16, not plain text; save it as UTF-8 without a byte-order mark")]
      return nil
    }
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) {
      bytes = bytes.dropFirst(3)
      diagnostics.append(
        Diagnostic(
          .needsConversion, line: 1,
          "the file begins with a byte-order mark, for which mpirun reports a parse error"))
    }
    guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
      diagnostics = [Diagnostic(.fatal, "it is not a text file; is the path right?")]
      return nil
    }
    // By scalars: "\r\n" is a single Character.
    var lines: [String.UnicodeScalarView] = [String.UnicodeScalarView()]
    var firstReturn: Int?
    var previous: Unicode.Scalar = "\n"
    for scalar in text.unicodeScalars {
      defer { previous = scalar }
      if scalar == "\r" {
        firstReturn = firstReturn ?? lines.count
      } else if scalar == "\n" && previous == "\r" {
        continue
      }
      if scalar == "\n" || scalar == "\r" {
        lines.append(String.UnicodeScalarView())
      } else {
        lines[lines.count - 1].append(scalar)
      }
    }
    if let firstReturn {
      diagnostics.append(
        Diagnostic(
          .needsConversion, line: firstReturn,
          "Windows line ends (CR LF), for which mpirun reports a parse error"))
    }
    return lines.map(String.init)
  }

  /// Diagnoses a line in another format than Open MPI's, unless its hosts were diagnosed already.
  private mutating func diagnoseFormat(_ entry: Entry, text: String) {
    guard diagnostics.last?.line != entry.line || diagnostics.last?.severity != .needsConversion else { return }
    let written = text.split(separator: "#").first.map { String($0.trimmed) } ?? text
    switch entry.format {
    case .mpich:
      let slots = entry.slots ?? 1
      diagnostics.append(
        Diagnostic(
          .needsConversion, line: entry.line,
          "\(written) is the format of MPICH and Intel MPI; Open MPI's is \(entry.name) slots=\(slots)"))
    case .slurm:
      diagnostics.append(
        Diagnostic(
          .needsConversion, line: entry.line,
          "\(written) is a Slurm node list; Open MPI needs one host per line, the first is \(entry.name)"))
    case .openMPI, .pbs: break
    }
  }

  /// Merges the lines of each host.
  private mutating func merge(_ entries: [Entry], isPBSNodeFile: Bool) {
    let areBare = entries.allSatisfy { $0.format == .openMPI && $0.slots == nil && $0.maximumSlots == nil }
    let names = Set(entries.map { $0.name.lowercased() })
    let isPBS = areBare && !entries.isEmpty && (isPBSNodeFile || names.count < entries.count)
    if isPBS { formats = [.pbs] }
    var indices: [String: Int] = [:]
    for entry in entries {
      guard let i = indices[entry.name.lowercased()] else {
        indices[entry.name.lowercased()] = hosts.count
        hosts.append(
          Host(
            name: entry.name, slots: isPBS ? 1 : entry.slots, maximumSlots: entry.maximumSlots, line: entry.line))
        continue
      }
      // Open MPI adds slots up; a bare line in addition to one with slots adds none.
      if isPBS || entry.slots != nil { hosts[i].slots = (hosts[i].slots ?? 0) + (entry.slots ?? 1) }
      if let maximum = entry.maximumSlots { hosts[i].maximumSlots = max(maximum, hosts[i].maximumSlots ?? 0) }
      guard !isPBS else { continue }
      let twice = "\(entry.name) is also in line \(hosts[i].line); "
      if let slots = hosts[i].slots, slots > HostLine.maximumCount {
        diagnostics.append(
          Diagnostic(
            .fatal, line: entry.line,
            twice + "their slots add up to \(slots), more than \(HostLine.maximumCount); leave a line out"))
      } else if let slots = hosts[i].slots, let maximum = hosts[i].maximumSlots, maximum < slots {
        diagnostics.append(
          Diagnostic(
            .fatal, line: entry.line,
            twice + "their slots add up to \(slots), more than max_slots=\(maximum); raise it or leave a line out"))
      } else {
        let total = hosts[i].slots.map { "their slots add up to \($0)" } ?? "the second line has no effect"
        diagnostics.append(Diagnostic(.warning, line: entry.line, twice + total))
      }
    }
    guard isPBS, let single = hosts.first(where: { $0.slots == 1 }) else { return }
    diagnostics.append(
      Diagnostic(
        .needsConversion, line: single.line,
        "a PBS node file names \(single.name) once for its one slot, but Open MPI would give it one slot per core; "
          + "Open MPI's format is \(single.name) slots=1"))
  }

  private mutating func warnAboutLocalNames() {
    guard hosts.count > 1 else { return }
    for host in hosts where ["localhost", "127.0.0.1", "::1"].contains(host.address.lowercased()) {
      diagnostics.append(
        Diagnostic(
          .warning, line: host.line,
          "\(host.name) means another machine on every host; write this machine's name, as hostname prints it"))
    }
  }
}

extension StringProtocol {
  /// The text without blanks and tabs at both ends.
  fileprivate var trimmed: String {
    let isBlank = { (character: Character) in character == " " || character == "\t" }
    let start = drop(while: isBlank)
    return String(start.reversed().drop(while: isBlank).reversed())
  }
}

/// The parser of one line of a host file.
enum HostLine {
  /// The most slots of a host, more than any has.
  static let maximumCount = 1_000_000

  /// The reason why a line cannot be used.
  struct Problem: Error {
    /// What is wrong and how to fix it: a sentence without a full stop.
    let message: String

    init(_ message: String) { self.message = message }
  }

  /// Parses a line in any format.
  ///
  /// - Parameters:
  ///   - text: The line without its end.
  ///   - number: Its number, from 1.
  ///   - remaining: The most names that lists may still have.
  ///   - diagnostics: Receives warnings.
  /// - Returns: Its hosts; none if it is blank or a comment.
  /// - Throws: ``Problem`` if the line is invalid in every format.
  static func parse(
    _ text: String, number: Int, remaining: inout Int, diagnostics: inout [HostFile.Diagnostic]
  ) throws(Problem) -> [HostFile.Entry] {
    let words = words(of: text)
    guard let first = words.first else { return [] }
    let format: HostFile.Format
    var names: [String]
    var slots: Int?
    if SlurmNodeList.isList(first) {
      format = .slurm
      names = try SlurmNodeList.expand(first, remaining: &remaining)
    } else if let (name, count) = try mpichHost(first) {
      format = .mpich
      names = [name]
      slots = count
    } else {
      format = .openMPI
      names = [first.hasPrefix("[") && first.hasSuffix("]") ? String(first.dropFirst().dropLast()) : first]
    }
    for name in names { try validate(name: name) }
    var maximum: Int?
    for word in words.dropFirst() {
      let pair = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard pair.count == 2 else {
        let advice = Int(word) == nil ? "one host per line" : "\(first) slots=\(word)"
        throw Problem("'\(word)' after \(first) has no meaning; write \(advice)")
      }
      switch pair[0] {
      case "slots", "cpu", "count":
        guard slots == nil else { throw Problem("\(first) has slots= twice; give it once") }
        slots = try count(pair[1], of: word)
      case "max_slots", "max-slots", "slots_max", "slots-max", "cpu_max", "cpu-max", "count_max", "count-max":
        guard maximum == nil else { throw Problem("\(first) has max_slots= twice; give it once") }
        maximum = try count(pair[1], of: word)
      default:
        guard format == .mpich else {
          throw Problem("\(pair[0])= is not a setting of a host file; Open MPI supports slots= and max_slots=")
        }
        diagnostics.append(
          HostFile.Diagnostic(
            .warning, line: number, "\(word) is skipped: Open MPI's host files have no such setting"))
      }
    }
    if let slots, let maximum, maximum < slots {
      throw Problem("max_slots=\(maximum) is less than slots=\(slots); raise it or leave it out")
    }
    let (hostSlots, hostMaximum) = (slots, maximum)
    return names.map {
      HostFile.Entry(name: $0, slots: hostSlots, maximumSlots: hostMaximum, format: format, line: number)
    }
  }

  /// Returns the words before a comment; blanks around `=` are removed, as Open MPI does.
  private static func words(of text: String) -> [String] {
    var content = text[...]
    for mark in ["#", "//"] {
      if let range = content.firstRange(of: mark) { content = content[..<range.lowerBound] }
    }
    var words: [String] = []
    var joinsNext = false
    for token in content.split(whereSeparator: { $0 == " " || $0 == "\t" }) {
      if joinsNext || (token.hasPrefix("=") && !words.isEmpty) {
        words[words.count - 1] += token
      } else {
        words.append(String(token))
      }
      joinsNext = token.hasSuffix("=")
    }
    return words
  }

  /// Reads `host:4` or `[address]:4`; returns `nil` for anything else, including IPv6 addresses.
  private static func mpichHost(_ word: String) throws(Problem) -> (name: String, slots: Int?)? {
    guard let colon = word.lastIndex(of: ":") else { return nil }
    let name = word[..<colon]
    let isBracketed = name.hasPrefix("[") && name.hasSuffix("]")
    guard isBracketed || !name.contains(":") else { return nil }
    let bare = isBracketed ? String(name.dropFirst().dropLast()) : String(name)
    return (bare, try count(String(word[word.index(after: colon)...]), of: word))
  }

  private static func count(_ text: String, of word: String) throws(Problem) -> Int {
    guard let value = Int(text), (1...maximumCount).contains(value) else {
      throw Problem("'\(text)' in \(word) is not a number of ranks; write a positive number, or leave the host out")
    }
    return value
  }

  /// Refuses names that `mpirun` or `ssh` would misread.
  private static func validate(name: String) throws(Problem) {
    let components = name.split(separator: "@", omittingEmptySubsequences: false)
    // An IPv6 address has two colons or more; with one, it would be read as a host and its slots.
    let isAddress =
      name.count { $0 == ":" } > 1 && name.allSatisfy { $0.isASCII && ($0.isHexDigit || ":.%".contains($0)) }
    let isName =
      components.count <= 2
      && components.allSatisfy { component in
        !component.isEmpty && !component.hasPrefix("-") && !component.hasPrefix(".")
          && component.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == ".") || $0 == "_" }
      }
    guard isAddress || isName, name.count <= SlurmNodeList.maximumNameLength else {
      throw Problem("'\(name)' is not a host name; names have letters, digits, '-' and '.'")
    }
    if !isAddress, let host = components.last, host.contains("_") {
      throw Problem("'\(host)' has an underscore, which mpirun cannot handle in a host name; use the host's address")
    }
  }
}
