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
        findings.append(Finding(.fatal, line: i + 1, error.text))
      }
    }
    if entries.isEmpty && fatal == nil {
      findings.append(Finding(.fatal, "it names no host; write one a line, such as node01 slots=4"))
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
    let form: Form
    let line: Int
  }

  /// Cuts the bytes into lines, whatever their ends; notes what `mpirun` would stumble over.
  private mutating func readLines(_ bytes: [UInt8]) -> [String]? {
    var bytes = bytes[...]
    if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) {
      findings = [Finding(.fatal, "it is UTF-16, not plain text; save it as UTF-8 without a byte-order mark")]
      return nil
    }
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) {
      bytes = bytes.dropFirst(3)
      findings.append(
        Finding(
          .convertible, line: 1,
          "the file begins with a byte-order mark, for which mpirun reports a parse error"))
    }
    guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
      findings = [Finding(.fatal, "it is no text file; is the path right?")]
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
        Finding(
          .convertible, line: firstReturn,
          "Windows line ends (CR LF), for which mpirun reports a parse error"))
    }
    return lines.map(String.init)
  }

  private mutating func addConvertible(_ entry: Entry, text: String) {
    guard findings.last?.line != entry.line || findings.last?.severity != .convertible else { return }
    let written = text.split(separator: "#").first.map { String($0.trimmed) } ?? text
    switch entry.form {
    case .mpich:
      let slots = entry.slots ?? 1
      findings.append(
        Finding(
          .convertible, line: entry.line,
          "\(written) is the form of MPICH and Intel MPI; Open MPI's is \(entry.name) slots=\(slots)"))
    case .slurm:
      findings.append(
        Finding(
          .convertible, line: entry.line,
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
          Finding(.warning, line: entry.line, "\(entry.name) stands in line \(hosts[i].line) already; \(total)"))
      }
    }
    if isPBS { onceNamed = hosts.count { $0.slots == 1 } }
    if onceNamed > 0 {
      let which = hosts.first { $0.slots == 1 }
      findings.append(
        Finding(
          .convertible, line: which?.line ?? 0,
          "a PBS node file names \(which?.name ?? "a host") once for its one slot, but Open MPI would take that for one "
            + "slot a core; Open MPI's form is \(which?.name ?? "host") slots=1"))
    }
  }

  private mutating func warnAboutLocalNames() {
    guard hosts.count > 1 else { return }
    for host in hosts where ["localhost", "127.0.0.1", "::1"].contains(host.address.lowercased()) {
      findings.append(
        Finding(
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
