import ArgumentParser
import Clusters
import Collectives
import Foundation
import OpenMPI
import Training

/// The part of `wrn-dist doctor` that reads a host file.
struct HostFileOptions: ParsableArguments {
  @Option(
    help: """
      Check the hosts of this file instead: Open MPI's form, MPICH's host:4, a PBS node file or a Slurm node list.
      """) var hostfile: String?
  @Option(help: "Write the file in Open MPI's form here, replacing it in one step.") var write: String?
  @Option(help: "Slots of a host that the file says nothing about. (default: its cores)")
  var slotsPerHost: Int?
  @Option(help: "Warn if so many ranks do not fit.") var ranks: Int?
  @Option(help: "Warn if there are fewer microbatches than ranks.") var microbatches = 8
  @Option(help: "Check the network between the hosts, as 10.0.0.0/16 or eth0.") var interface: String?
  @Flag(help: "Also try to start something on every other host, as mpirun will.") var reach = false
  @Flag(help: "Print warnings and errors only.") var quiet = false

  /// Refuses values that cannot be, and flags that only a host file gives a meaning.
  ///
  /// - Throws: ``UsageError``.
  func checkConsistency() throws {
    for (name, value) in [("slots-per-host", slotsPerHost), ("ranks", ranks), ("microbatches", microbatches)] {
      if let value, value < 1 { throw UsageError("--\(name) \(value) must be at least 1.") }
    }
    guard hostfile == nil, write != nil || slotsPerHost != nil || ranks != nil || reach || quiet else { return }
    throw UsageError("--write, --slots-per-host, --ranks, --reach and --quiet belong to --hostfile FILE; give it too.")
  }

  /// Checks the file and the hosts that it names; on one rank.
  ///
  /// - Parameter path: The file.
  /// - Throws: `StartupFailure` with one sentence: 65 if it cannot be read, 64 if it cannot be used, 69 if a host cannot be
  ///   found or reached; `CheckpointError` if the converted file cannot be written.
  func check(_ path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw StartupFailure(
        exitCode: ExitCodes.badData, message: "the host file \(path) cannot be read; is the path right?")
    }
    let isPBS = ProcessInfo.processInfo.environment["PBS_NODEFILE"] == path
    let file = HostFile([UInt8](data), isPBSNodeFile: isPBS)
    if let fatal = file.fatal {
      throw StartupFailure(exitCode: ExitCodes.usage, message: "the host file \(path), \(fatal.sentence).")
    }
    let interfaces = NetworkInterface.current()
    let explanation = try interface.map { choice in
      do { return try InterfaceCheck.describeSelection(choice, interfaces: interfaces) } catch {
        throw UsageError("\(error)")
      }
    }
    let form = file.forms.map(\.rawValue).joined(separator: " and ")
    let comment = "Open MPI host file, converted by wrn-dist doctor from \(path) (\(form))."
    let converted = file.rendered(slotsPerHost: slotsPerHost, comment: comment)
    if !quiet {
      say("\(path): \(form) form, \(summary(file))")
      if file.needsConversion != nil || slotsPerHost != nil { say(converted.trimmingCharacters(in: .newlines)) }
      explanation.map(say)
    }
    try warn(file, path, interfaces)
    if let write {
      try OutputFile.replace(write, with: converted)
      if !quiet { say("written to \(write)") }
    } else if let problem = file.needsConversion {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message: "the host file \(path), \(problem.sentence); "
          + "wrn-dist doctor --hostfile \(path) --write OUT converts the whole file.")
    }
    // After writing: a file for a cluster may be converted where its hosts are unknown.
    try checkReachable(file, path, interfaces)
    if !quiet { say("every host is known\(reach ? " and can be reached" : "")") }
  }

  private func summary(_ file: HostFile) -> String {
    let hosts = "\(file.hosts.count) host\(file.hosts.count == 1 ? "" : "s")"
    let unknown = file.hosts.count { $0.slots == nil && slotsPerHost == nil }
    let slots = file.slotCount(slotsPerHost: slotsPerHost ?? 0)
    switch unknown {
    case 0: return "\(hosts), \(slots) slots"
    case file.hosts.count: return "\(hosts), a slot a core"
    default: return "\(hosts), \(slots) slots and a slot a core on \(unknown)"
    }
  }

  private func warn(_ file: HostFile, _ path: String, _ interfaces: [NetworkInterface]) throws {
    var findings = file.findings.filter { $0.severity == .warning }
    if let ranks {
      let cores = CPUAffinity.current().onlineCoreCount
      findings += file.warnings(
        ranks: ranks, microbatches: microbatches, slotsPerHost: slotsPerHost ?? cores)
    }
    for finding in findings { warn("\(path), \(finding.sentence)") }
    guard file.hosts.count > 1, interface == nil else { return }
    let own = InterfaceCheck.sharedAddresses([HostInterfaces(host: "this host", interfaces: interfaces)])
    for sentence in own + [InterfaceCheck.bridges(interfaces)].compactMap({ $0 }) { warn(sentence) }
  }

  /// Looks every host up and, if asked, starts something on those that are not this one.
  private func checkReachable(_ file: HostFile, _ path: String, _ interfaces: [NetworkInterface]) throws {
    let results = HostResolver.all(file.hosts.map(\.address))
    var findings = file.findings(results, network: interface.flatMap(NetworkRange.init))
    for finding in findings where finding.severity == .warning { warn("\(path), \(finding.sentence)") }
    findings.removeAll { $0.severity == .warning }
    if findings.isEmpty && reach {
      let mine = Set(interfaces.map(\.address))
      let others = file.hosts.filter { host in
        guard case .found(let addresses) = results[host.address] else { return true }
        return !addresses.contains { $0.bits >> 24 == 127 || mine.contains($0) }
      }
      let agent = ProcessInfo.processInfo.environment["OMPI_MCA_plm_rsh_agent"]
      findings = HostProbe(agent: agent).findings(others)
    }
    guard let first = findings.first else { return }
    let more = findings.count > 1 ? " (and \(findings.count - 1) more)" : ""
    throw StartupFailure(
      exitCode: ExitCodes.peerFailure, message: "the host file \(path), \(first.sentence)\(more)")
  }

  private func say(_ line: String) {
    // Not through a buffer: a warning may follow on standard error.
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
  }

  private func warn(_ sentence: String) {
    FileHandle.standardError.write(Data("wrn-dist: warning: \(sentence).\n".utf8))
  }
}
