import ArgumentParser
import BLASKernels
import Clusters
import Collectives
import Foundation
import KernelDiagnostics
import Models
import OpenMPI
import Support

/// Reports what each rank gets on this machine, and gives advice.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Reports what each rank gets on this machine: CPU, cores, BLAS, MPI, limits; checks every kernel.",
    discussion: """
      Compares the kernels of every instruction set that the CPU supports with float64 loops, and ends with 70 if one \
      computes wrong results. Start it under mpirun with the options of a run.
      """)

  @OptionGroup(title: "Host files") var hosts: HostFileOptions

  func run() throws {
    try hosts.checkConsistency()
    try RankSession.run { communicator in
      if let path = hosts.hostfile {
        return try RankSession.collectively(communicator) { if communicator.rank == 0 { try hosts.check(path) } }
      }
      let affinity = CPUAffinity.current()
      let placements = try RankPlacement.allGather(affinity.placement, communicator: communicator)
      let interfaceAdvice = try interfaceAdvice(communicator)
      let engine = try EngineSelection(.native, communicator)
      let threads = placements.indices.map {
        RankPlacement.defaultThreadCount(rank: $0, placements: placements)
      }
      let caches = CacheReport(affinity, engine)
      if communicator.rank == 0 { print(render(affinity, caches, placements, threads, engine)) }
      // The ranks of a host share its CPU. The report above is printed even if a kernel then fails.
      let isHostLeader =
        placements.firstIndex { $0.hostHash == affinity.placement.hostHash } == communicator.rank
      let kernels = try RankSession.collectively(communicator) {
        isHostLeader ? try KernelReport() : nil
      }
      guard communicator.rank == 0 else { return }
      for line in kernels?.lines ?? [] { print(Self.row("kernels", line)) }
      let advice = advice(affinity, placements) + caches.advice + interfaceAdvice
      print(advice.isEmpty ? "no problems found" : advice.map { "advice: \($0)" }.joined(separator: "\n"))
    }
  }

  private func render(
    _ affinity: CPUAffinity, _ caches: CacheReport, _ placements: [RankPlacement], _ threads: [Int],
    _ engine: EngineSelection
  ) -> String {
    let hosts = Dictionary(grouping: placements.indices) { placements[$0].hostHash }.values
    let perHost = hosts.map(\.count).sorted().map(String.init).joined(separator: ", ")
    var rows = [
      ("host", affinity.hostName),
      ("CPU", HostInfo.cpuModel),
      ("vector units", HostInfo.vectorUnits.isEmpty ? "none known" : HostInfo.vectorUnits),
      ("cores", "\(affinity.onlineCoreCount) online, rank 0 may use \(affinity.usableCores.count)"),
    ]
    rows += caches.lines.map { ("caches", $0) }
    rows += [
      ("memory", HostInfo.memory),
      ("BLAS", "\(BLASLibrary.configuration), kernels for \(BLASLibrary.microarchitecture)"),
      ("ISA", KernelReport.selection),
      ("engine", engine.description),
      ("MPI", MPIEnvironment.libraryVersion),
      ("ranks", "\(placements.count) on \(hosts.count) host\(hosts.count == 1 ? "" : "s") (\(perHost))"),
      ("threads", "by default " + threads.map(String.init).joined(separator: ", ") + " (rank 0, 1, …)"),
      ("open files", HostInfo.limit(.openFiles)),
      ("file size", HostInfo.limit(.fileSize)),
      ("locked memory", HostInfo.limit(.lockedMemory)),
    ]
    return rows.map(Self.row).joined(separator: "\n")
  }

  private static func row(_ name: String, _ value: String) -> String {
    name.fitted(14) + value
  }

  private func advice(_ affinity: CPUAffinity, _ placements: [RankPlacement]) -> [String] {
    var result: [String] = []
    let local = placements.filter { $0.hostHash == affinity.placement.hostHash }
    if affinity.usableCores.count < affinity.onlineCoreCount && local.count == 1 {
      result.append(
        "rank 0 is bound to \(affinity.usableCores.count) of \(affinity.onlineCoreCount) cores and is the only rank "
          + "of its host; start mpirun with --bind-to none to use all of them.")
    }
    if local.count > affinity.onlineCoreCount {
      result.append(
        "\(local.count) ranks oversubscribe \(affinity.onlineCoreCount) cores; start mpirun with "
          + "--mca mpi_yield_when_idle 1, so that waiting ranks yield.")
    }
    if getuid() == 0 && ProcessInfo.processInfo.environment["OMPI_ALLOW_RUN_AS_ROOT"] == nil {
      result.append(
        "mpirun refuses to run as root unless OMPI_ALLOW_RUN_AS_ROOT=1 and "
          + "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 are set; an ordinary user needs neither.")
    }
    return result
  }
}

extension DoctorCommand {
  /// Finds network interfaces that mislead Open MPI, over the hosts of all ranks.
  ///
  /// Collective. Gathers every rank's interfaces.
  ///
  /// - Parameter communicator: The ranks.
  /// - Returns: Sentences with full stops, the same on every rank of a host.
  /// - Throws: `CommunicationError` if communication fails.
  func interfaceAdvice(_ communicator: any Communicator) throws -> [String] {
    let local = HostInterfaces(host: CPUAffinity.current().hostName, interfaces: NetworkInterface.current())
    let all = try communicator.allGather(local.line).compactMap(HostInterfaces.init(line:))
    var hosts: [HostInterfaces] = []
    for host in all where !hosts.contains(where: { $0.host == host.host }) { hosts.append(host) }
    var sentences = InterfaceCheck.sharedAddresses(hosts)
    // Ranks of a single host do not use its networks.
    if sentences.isEmpty && hosts.count > 1 {
      sentences += [InterfaceCheck.bridges(local.interfaces)].compactMap { $0 }
    }
    return sentences.map { $0 + "." }
  }
}

/// The caches of this rank's cores, and the L2 that its kernels use.
struct CacheReport {
  /// The caches; then a sentence if those of L2 are unusual.
  let lines: [String]
  /// Sentences with full stops.
  let advice: [String]

  /// Reads the caches of the cores that this rank may use.
  init(_ affinity: CPUAffinity, _ engine: EngineSelection) {
    let caches = CPUCaches(cores: affinity.usableCores.cores)
    let workingSet = (engine.engine as? NativeConvolutionEngine).map { TileBlockWorkingSet($0).byteCount }
    lines = [caches.summary] + [caches.note(workingSet: workingSet)].compactMap { $0 }
    advice = [caches.advice(workingSet: workingSet)].compactMap { $0 }
  }
}

/// The kernels of this machine, checked against float64 loops.
struct KernelReport {
  /// One line per instruction set.
  let lines: [String]

  /// Checks the portable engine and the kernels of every instruction set that this CPU supports.
  ///
  /// - Throws: `KernelMismatch` if one computes wrong results; `StartupFailure` if fault injection is not allowed.
  init() throws {
    let injectsFault = try TestSwitch.wrongKernel.isOn(ProcessInfo.processInfo.environment)
    let check = KernelSelfCheck()
    var lines: [String] = []
    var first: (name: String, summary: KernelSelfCheck.Summary)?
    for instructionSet in InstructionSet.allCases.filter(\.isSupported) {
      let kernels = instructionSet.kernels
      let engine = NativeConvolutionEngine(
        instructionSet, kernels: injectsFault ? kernels.corruptingOneValue() : kernels)
      let summary = try check(engine)
      lines.append(Self.line(engine, summary))
      if let first {
        try KernelSelfCheck.verifyBitwiseEqual(first, (instructionSet.rawValue, summary))
        lines[lines.count - 1] += ", bitwise identical to \(first.name)"
      } else {
        first = (instructionSet.rawValue, summary)
      }
    }
    let portable = BLASConvolutionEngine()
    lines.append(Self.line(portable, try check(portable)))
    self.lines = lines
  }

  private static func line(
    _ engine: any ConvolutionEngine, _ summary: KernelSelfCheck.Summary
  ) -> String {
    "\(engine.name) (\(engine.instructions)): all \(summary.comparisonCount) results correct, largest relative error "
      + "\(String(format: "%.1e", summary.largestError)) (\(summary.location))"
  }

  /// The instruction set that the native kernels use, and the reason.
  static var selection: String {
    let all = InstructionSet.allCases.map(\.rawValue).joined(separator: ", ")
    let usable = InstructionSet.allCases.filter(\.isSupported).map(\.rawValue)
    let requested = ProcessInfo.processInfo.environment["WRN_ISA"] ?? ""
    if !requested.isEmpty {
      return "\(requested), as WRN_ISA requests; this CPU supports \(usable.joined(separator: ", "))"
    }
    guard let widest = usable.first else {
      return "none: kernels are built for \(all), and this CPU supports none of them"
    }
    return "\(widest), the widest that this CPU supports; kernels are built for \(all)"
  }
}
