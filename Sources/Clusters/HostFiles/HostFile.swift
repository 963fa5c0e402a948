/// The hosts of a run, read from a host file of any of the usual forms.
///
/// Open MPI's own form is `host slots=4`; MPICH and Intel MPI write `host:4`, PBS one line a slot, Slurm a compressed list
/// such as `node[01-04,07]`. ``init(_:isPBSNodeFile:)`` reads all of them, ``rendered(slotsPerHost:comment:)`` writes Open MPI's.
public struct HostFile: Sendable {
  /// The form of a line.
  public enum Format: String, Sendable {
    /// `host slots=4 max_slots=8`
    case openMPI = "Open MPI"
    /// `host:4`
    case mpich = "MPICH or Intel MPI"
    /// One line a slot.
    case pbs = "PBS"
    /// `node[01-04,07]`
    case slurm = "Slurm"
  }

  /// A host, its lines joined.
  public struct Host: Hashable, Sendable {
    /// Its name or address, with `user@` if the file has it.
    public let name: String
    /// The ranks that it takes; nil: as many as it has cores.
    public var slots: Int?
    /// The most that it may ever take.
    public var maximumSlots: Int?
    /// The line that names it first, from 1.
    public let line: Int

    /// The name without `user@`: what is looked up.
    public var address: String { name.split(separator: "@").last.map(String.init) ?? name }
  }

  /// Something that the file's owner should know.
  public struct Diagnostic: Hashable, Sendable {
    /// How grave a finding is.
    public enum Severity: Sendable {
      /// Worth a look.
      case warning
      /// `mpirun` refuses it as it is written; the file that ``HostFile/rendered(slotsPerHost:comment:)`` writes is free of it.
      case needsConversion
      /// Nobody can use it.
      case fatal
    }

    /// How grave it is.
    public let severity: Severity
    /// Where it is, from 1; 0: the whole file.
    public let line: Int
    /// What it is and how to mend it: a sentence without a full stop.
    public let text: String

    /// The sentence with its place: `line 3: …`.
    public var sentence: String { line > 0 ? "line \(line): \(text)" : text }

    /// Makes a finding.
    public init(_ severity: Severity, line: Int = 0, _ text: String) {
      self.severity = severity
      self.line = line
      self.text = text
    }
  }

  /// The hosts, in the order of their first lines.
  public internal(set) var hosts: [Host] = []
  /// The forms found, in the order of appearance.
  public internal(set) var forms: [Format] = []
  /// What is wrong or odd, in the order of lines.
  public internal(set) var findings: [Diagnostic] = []

  /// The first thing that keeps everybody from using the file.
  public var fatal: Diagnostic? { findings.first { $0.severity == .fatal } }
  /// The first thing for which `mpirun` refuses the file as it is written.
  public var needsConversion: Diagnostic? { findings.first { $0.severity == .needsConversion } }

  /// Returns the ranks that all hosts take together.
  ///
  /// - Parameter slotsPerHost: Counted for a host that says nothing.
  /// - Returns: The sum.
  public func slotCount(slotsPerHost: Int) -> Int {
    hosts.reduce(0) { $0 + ($1.slots ?? slotsPerHost) }
  }

  /// Returns warnings about a number of ranks.
  ///
  /// - Parameters:
  ///   - ranks: The ranks to start.
  ///   - microbatches: The microbatches of a step.
  ///   - slotsPerHost: Counted for a host that says nothing.
  /// - Returns: One finding for each thing that does not fit.
  public func warnings(ranks: Int, microbatches: Int, slotsPerHost: Int) -> [Diagnostic] {
    var result: [Diagnostic] = []
    let slots = slotCount(slotsPerHost: slotsPerHost)
    if ranks > slots {
      result.append(
        Diagnostic(
          .warning,
          "\(ranks) ranks do not fit \(slots) slots, and mpirun starts none; raise slots= or start -np \(slots)"))
    }
    if ranks > microbatches {
      result.append(
        Diagnostic(
          .warning,
          "\(ranks) ranks cannot share \(microbatches) microbatches, each needs one; start -np \(microbatches) or raise "
            + "--microbatches"))
    }
    return result
  }

  /// Writes the file in Open MPI's form.
  ///
  /// - Parameters:
  ///   - slotsPerHost: Written for a host that says nothing; nil: nothing is written, which means one slot a core.
  ///   - comment: The first line, without its `#`.
  /// - Returns: The text, with Unix line ends.
  public func rendered(slotsPerHost: Int? = nil, comment: String) -> String {
    let width = hosts.map(\.name.count).max() ?? 0
    let lines = hosts.map { host in
      var line = host.name
      if let slots = host.slots ?? slotsPerHost {
        line += String(repeating: " ", count: width - host.name.count) + " slots=\(slots)"
      }
      if let most = host.maximumSlots { line += " max_slots=\(most)" }
      return line
    }
    return (["# " + comment] + lines).joined(separator: "\n") + "\n"
  }
}
