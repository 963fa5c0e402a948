import ArgumentParser
import Clusters
import Collectives
import Foundation
import OpenMPI
import Training

/// The flags of `wrn-dist doctor` for host files, and the check of one.
struct HostFileOptions: ParsableArguments {
  @Option(
    help: """
      Check this host file instead: Open MPI's format, MPICH's host:4, a PBS node file or a Slurm node list.
      """) var hostfile: String?
  @Option(help: "Write the host file in Open MPI's format to this file, atomically.") var write: String?
  @Option(help: "Slots of a host whose lines have none. (default: its cores)")
  var slotsPerHost: Int?
  @Option(help: "Warn if this number of ranks does not fit.") var ranks: Int?
  @Option(help: "Microbatches per batch, for a warning if there are more ranks.") var microbatches = 8
  @Option(help: "Check this network between the hosts, as 10.0.0.0/16 or eth0.") var interface: String?
  @Flag(help: "Also run a command on every other host, as mpirun does.") var reach = false
  @Flag(help: "Print warnings and errors only.") var quiet = false

  /// Refuses invalid values, and flags that need `--hostfile`.
  ///
  /// - Throws: ``UsageError``.
  func checkConsistency() throws {
    for (name, value) in [("slots-per-host", slotsPerHost), ("ranks", ranks), ("microbatches", microbatches)] {
      if let value, value < 1 { throw UsageError("--\(name) \(value) must be at least 1.") }
    }
    guard hostfile == nil, write != nil || slotsPerHost != nil || ranks != nil || reach || quiet else { return }
    throw UsageError("--write, --slots-per-host, --ranks, --reach and --quiet need --hostfile FILE; give it too.")
  }

  /// Checks a host file and its hosts; for one rank.
  ///
  /// - Parameter path: The file.
  /// - Throws: `StartupFailure` with exit code 65 if the file cannot be read, 64 if it is invalid, 69 if a host is unknown or
  ///   unreachable; `CheckpointError` if the converted file cannot be written.
  func check(_ path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw StartupFailure(
        exitCode: ExitCodes.badData, message: "the host file \(path) cannot be read; is the path right?")
    }
    let isPBS = ProcessInfo.processInfo.environment["PBS_NODEFILE"] == path
    let file = HostFile([UInt8](data), isPBSNodeFile: isPBS)
    if let fatal = file.fatal {
      throw StartupFailure(exitCode: ExitCodes.usage, message: "the host file \(path), \(fatal.description).")
    }
    let interfaces = NetworkInterface.current()
    let selection = try interface.map { choice in
      do { return try InterfaceCheck.describeSelection(choice, interfaces: interfaces) } catch {
        throw UsageError("\(error)")
      }
    }
    let format = file.formats.map(\.rawValue).joined(separator: " and ")
    let comment = "Open MPI host file, converted by wrn-dist doctor from \(path) (\(format))."
    let converted = file.rendered(slotsPerHost: slotsPerHost, comment: comment)
    if !quiet {
      say("\(path): \(format) format, \(summary(file))")
      if file.needsConversion != nil || slotsPerHost != nil { say(converted.trimmingCharacters(in: .newlines)) }
      selection.map(say)
    }
    try warn(file, path, interfaces)
    if let write {
      try OutputFile.replace(write, with: converted)
      if !quiet { say("written to \(write)") }
    } else if let problem = file.needsConversion {
      throw StartupFailure(
        exitCode: ExitCodes.usage,
        message: "the host file \(path), \(problem.description); "
          + "wrn-dist doctor --hostfile \(path) --write OUT converts the whole file.")
    }
    // After writing, because a file for a cluster may be converted where its hosts are unknown.
    try checkReachable(file, path, interfaces)
    if !quiet { say("every host is known\(reach ? " and reachable" : "")") }
  }

  private func summary(_ file: HostFile) -> String {
    let hosts = "\(file.hosts.count) host\(file.hosts.count == 1 ? "" : "s")"
    let unknown = file.hosts.count { $0.slots == nil && slotsPerHost == nil }
    let slots = file.slotCount(slotsPerHost: slotsPerHost ?? 0)
    switch unknown {
    case 0: return "\(hosts), \(slots) slots"
    case file.hosts.count: return "\(hosts), one slot per core"
    default: return "\(hosts), \(slots) slots, and one slot per core on \(unknown)"
    }
  }

  private func warn(_ file: HostFile, _ path: String, _ interfaces: [NetworkInterface]) throws {
    var diagnostics = file.diagnostics.filter { $0.severity == .warning }
    if let ranks {
      let cores = CPUAffinity.current().onlineCoreCount
      diagnostics += file.warnings(
        ranks: ranks, microbatches: microbatches, slotsPerHost: slotsPerHost ?? cores)
    }
    for diagnostic in diagnostics { warn("\(path), \(diagnostic.description)") }
    guard file.hosts.count > 1, interface == nil else { return }
    let shared = InterfaceCheck.sharedAddresses([HostInterfaces(host: "this host", interfaces: interfaces)])
    for sentence in shared + [InterfaceCheck.bridges(interfaces)].compactMap({ $0 }) { warn(sentence) }
  }

  /// Resolves every host and, with `--reach`, runs a command on the other ones.
  private func checkReachable(_ file: HostFile, _ path: String, _ interfaces: [NetworkInterface]) throws {
    let results = HostResolver.resolve(file.hosts.map(\.address))
    var diagnostics = file.diagnostics(results, network: interface.flatMap(NetworkRange.init))
    for diagnostic in diagnostics where diagnostic.severity == .warning { warn("\(path), \(diagnostic.description)") }
    diagnostics.removeAll { $0.severity == .warning }
    if diagnostics.isEmpty && reach {
      let local = Set(interfaces.map(\.address))
      let others = file.hosts.filter { host in
        guard case .found(let addresses) = results[host.address] else { return true }
        return !addresses.contains { $0.bits >> 24 == 127 || local.contains($0) }
      }
      let agent = ProcessInfo.processInfo.environment["OMPI_MCA_plm_rsh_agent"]
      diagnostics = HostProbe(agent: agent).diagnostics(of: others)
    }
    guard let first = diagnostics.first else { return }
    let more = diagnostics.count > 1 ? " (and \(diagnostics.count - 1) more)" : ""
    throw StartupFailure(
      exitCode: ExitCodes.peerFailure, message: "the host file \(path), \(first.description)\(more)")
  }

  private func say(_ line: String) {
    // Without a buffer, so that lines and warnings on standard error stay in order.
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
  }

  private func warn(_ sentence: String) {
    StandardError.write("wrn-dist: warning: \(sentence).")
  }
}
