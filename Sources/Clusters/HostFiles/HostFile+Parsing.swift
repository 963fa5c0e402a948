extension HostFile {
  /// Reads a host file; what is wrong with it is in ``findings``.
  ///
  /// - Parameters:
  ///   - bytes: The file's contents.
  ///   - isPBSNodeFile: Whether the file is known to be `$PBS_NODEFILE`, where a host named once has one slot. Otherwise a
  ///     file of bare names is taken for one if it names some host twice.
  public init(_ bytes: [UInt8], isPBSNodeFile: Bool = false) {
    guard let lines = readLines(bytes) else { return }
    var entries: [Entry] = []
    for (i, line) in lines.enumerated() {
      do {
        for entry in try HostLine.parse(line, number: i + 1, notes: &findings) {
          entries.append(entry)
          if !forms.contains(entry.form) { forms.append(entry.form) }
          if entry.form != .openMPI { addConvertible(entry, text: line) }
        }
      } catch {
        findings.append(Diagnostic(.fatal, line: i + 1, error.text))
      }
    }
    if entries.isEmpty && fatal == nil {
      findings.append(Diagnostic(.fatal, "it names no host; write one a line, such as node01 slots=4"))
    }
    join(entries, isPBSNodeFile: isPBSNodeFile)
    warnAboutLocalNames()
    findings.sort { $0.line < $1.line }
  }

  /// One host of one line.
  struct Entry {
    let name: String
    let slots: Int?
    let maximumSlots: Int?
    let form: Format
    let line: Int
  }

  /// Cuts the bytes into lines, whatever their ends; notes what `mpirun` would stumble over.
  private mutating func readLines(_ bytes: [UInt8]) -> [String]? {
    var bytes = bytes[...]
    if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) {
      findings = [Diagnostic(.fatal, "it is UTF-16, not plain text; save it as UTF-8 without a byte-order mark")]
      return nil
    }
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) {
      bytes = bytes.dropFirst(3)
      findings.append(
        Diagnostic(
          .needsConversion, line: 1,
          "the file begins with a byte-order mark, for which mpirun reports a parse error"))
    }
    guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
      findings = [Diagnostic(.fatal, "it is no text file; is the path right?")]
      return nil
    }
    // By scalars: as Characters "\r\n" is one.
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
      findings.append(
        Diagnostic(
          .needsConversion, line: firstReturn,
          "Windows line ends (CR LF), for which mpirun reports a parse error"))
    }
    return lines.map(String.init)
  }

  private mutating func addConvertible(_ entry: Entry, text: String) {
    guard findings.last?.line != entry.line || findings.last?.severity != .needsConversion else { return }
    let written = text.split(separator: "#").first.map { String($0.trimmed) } ?? text
    switch entry.form {
    case .mpich:
      let slots = entry.slots ?? 1
      findings.append(
        Diagnostic(
          .needsConversion, line: entry.line,
          "\(written) is the form of MPICH and Intel MPI; Open MPI's is \(entry.name) slots=\(slots)"))
    case .slurm:
      findings.append(
        Diagnostic(
          .needsConversion, line: entry.line,
          "\(written) is a Slurm node list; Open MPI wants one host a line, the first is \(entry.name)"))
    case .openMPI, .pbs: break
    }
  }

  /// Joins the lines of each host.
  private mutating func join(_ entries: [Entry], isPBSNodeFile: Bool) {
    let areBare = entries.allSatisfy { $0.form == .openMPI && $0.slots == nil && $0.maximumSlots == nil }
    let names = Set(entries.map { $0.name.lowercased() })
    let isPBS = areBare && !entries.isEmpty && (isPBSNodeFile || names.count < entries.count)
    if isPBS { forms = [.pbs] }
    var indices: [String: Int] = [:]
    var onceNamed = 0
    for entry in entries {
      guard let i = indices[entry.name.lowercased()] else {
        indices[entry.name.lowercased()] = hosts.count
        hosts.append(
          Host(
            name: entry.name, slots: isPBS ? 1 : entry.slots, maximumSlots: entry.maximumSlots, line: entry.line))
        continue
      }
      // Open MPI adds slots up; a bare line beside one with slots adds nothing.
      if isPBS || entry.slots != nil { hosts[i].slots = (hosts[i].slots ?? 0) + (entry.slots ?? 1) }
      if let most = entry.maximumSlots { hosts[i].maximumSlots = max(most, hosts[i].maximumSlots ?? 0) }
      if !isPBS {
        let total = hosts[i].slots.map { "their slots add up to \($0)" } ?? "the second line changes nothing"
        findings.append(
          Diagnostic(.warning, line: entry.line, "\(entry.name) stands in line \(hosts[i].line) already; \(total)"))
      }
    }
    if isPBS { onceNamed = hosts.count { $0.slots == 1 } }
    if onceNamed > 0 {
      let which = hosts.first { $0.slots == 1 }
      findings.append(
        Diagnostic(
          .needsConversion, line: which?.line ?? 0,
          "a PBS node file names \(which?.name ?? "a host") once for its one slot, but Open MPI would take that for one "
            + "slot a core; Open MPI's form is \(which?.name ?? "host") slots=1"))
    }
  }

  private mutating func warnAboutLocalNames() {
    guard hosts.count > 1 else { return }
    for host in hosts where ["localhost", "127.0.0.1", "::1"].contains(host.address.lowercased()) {
      findings.append(
        Diagnostic(
          .warning, line: host.line,
          "\(host.name) means another machine on every host; write this machine's name, as hostname prints it"))
    }
  }
}

extension StringProtocol {
  /// Without blanks and tabs at both ends.
  var trimmed: String {
    let isBlank = { (character: Character) in character == " " || character == "\t" }
    let start = drop(while: isBlank)
    return String(start.reversed().drop(while: isBlank).reversed())
  }
}

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
    _ text: String, number: Int, notes: inout [HostFile.Diagnostic]
  ) throws(Problem) -> [HostFile.Entry] {
    let words = words(of: text)
    guard let first = words.first else { return [] }
    let form: HostFile.Format
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
          HostFile.Diagnostic(
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
