import Support

/// The hosts of a run, read from a host file in one of the usual formats.
///
/// Open MPI's format is `host slots=4`. MPICH and Intel MPI write `host:4`, PBS writes one line per slot, and Slurm writes a
/// compressed list such as `node[01-04,07]`. ``init(_:isPBSNodeFile:)`` reads all of them;
/// ``rendered(slotsPerHost:comment:)`` writes Open MPI's.
public struct HostFile: Sendable {
  /// The format of a line.
  public enum Format: String, Sendable {
    /// `host slots=4 max_slots=8`
    case openMPI = "Open MPI"
    /// `host:4`
    case mpich = "MPICH or Intel MPI"
    /// One line per slot.
    case pbs = "PBS"
    /// `node[01-04,07]`
    case slurm = "Slurm"
  }

  /// A host; several lines that name it are merged.
  public struct Host: Hashable, Sendable {
    /// Its name or address, with `user@` if the file has it.
    public let name: String
    /// The number of ranks that it takes; if `nil`, as many as it has cores.
    public var slots: Int?
    /// The hard limit of its ranks, if the file has one.
    public var maximumSlots: Int?
    /// The first line that names it, from 1.
    public let line: Int

    /// The name without `user@`, which the resolver accepts.
    public var address: String { name.split(separator: "@").last.map(String.init) ?? name }
  }

  /// A problem of the file or of one of its hosts.
  public struct Diagnostic: Hashable, Sendable, CustomStringConvertible {
    /// The effect of a problem.
    public enum Severity: Sendable {
      /// The file works, but perhaps not as intended.
      case warning
      /// `mpirun` refuses the file; the result of ``HostFile/rendered(slotsPerHost:comment:)`` is free of the problem.
      case needsConversion
      /// The file cannot be used.
      case fatal
    }

    /// The effect of the problem.
    public let severity: Severity
    /// The line, from 1; 0 for the whole file.
    public let line: Int
    /// What is wrong and how to fix it: a sentence without a full stop.
    public let message: String

    /// The message with its line: `line 3: …`.
    public var description: String { line > 0 ? "line \(line): \(message)" : message }

    /// Creates a diagnostic.
    public init(_ severity: Severity, line: Int = 0, _ message: String) {
      self.severity = severity
      self.line = line
      self.message = message
    }
  }

  /// The hosts, in the order of their first lines.
  public internal(set) var hosts: [Host] = []
  /// The formats found, in the order of appearance.
  public internal(set) var formats: [Format] = []
  /// The problems found, in the order of lines.
  public internal(set) var diagnostics: [Diagnostic] = []

  /// The first problem that makes the file unusable.
  public var fatal: Diagnostic? { diagnostics.first { $0.severity == .fatal } }
  /// The first problem for which `mpirun` refuses the file.
  public var needsConversion: Diagnostic? { diagnostics.first { $0.severity == .needsConversion } }

  /// Counts the slots of all hosts.
  ///
  /// - Parameter slotsPerHost: The slots of a host whose lines have none.
  /// - Returns: The sum.
  public func slotCount(slotsPerHost: Int) -> Int {
    hosts.reduce(0) { $0 + ($1.slots ?? slotsPerHost) }
  }

  /// Compares a number of ranks with its limits.
  ///
  /// - Parameters:
  ///   - ranks: The ranks to start.
  ///   - microbatches: The microbatches of a step.
  ///   - slotsPerHost: The slots of a host whose lines have none.
  /// - Returns: One warning per limit that it exceeds.
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
          "\(ranks) ranks cannot share \(microbatches) microbatches, because each needs one; start -np \(microbatches) "
            + "or raise --microbatches"))
    }
    return result
  }

  /// Renders the file in Open MPI's format.
  ///
  /// - Parameters:
  ///   - slotsPerHost: The slots of a host whose lines have none. If `nil`, none are written, which means one slot per core.
  ///   - comment: The first line, without its `#`.
  /// - Returns: The text, with Unix line ends.
  public func rendered(slotsPerHost: Int? = nil, comment: String) -> String {
    let width = hosts.map(\.name.count).max() ?? 0
    let lines = hosts.map { host in
      var line = host.name
      if let slots = host.slots ?? slotsPerHost { line = line.leftAligned(width) + " slots=\(slots)" }
      if let maximum = host.maximumSlots { line += " max_slots=\(maximum)" }
      return line
    }
    return (["# " + comment] + lines).joined(separator: "\n") + "\n"
  }
}
