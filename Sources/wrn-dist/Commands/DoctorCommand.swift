import ArgumentParser
import BLASKernels
import Clusters
import Collectives
import Foundation
import KernelDiagnostics
import Models
import OpenMPI

/// What a machine offers to a run, and what to mend.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Says what this machine offers to a run: CPU, cores and binding, BLAS, MPI, limits.",
    discussion: """
      Checks the kernels of every instruction set that the CPU can run against plain loops in double precision, and ends \
      with 70 if one computes wrongly. Start it under mpirun with the options of a run to see what each rank would get.
      """)

  @OptionGroup(title: "Host files") var hosts: HostFileOptions

  func run() throws {
    try hosts.checkConsistency()
    try RankSession.run { communicator in
      if let path = hosts.hostfile {
        return try RankSession.together(communicator) { if communicator.rank == 0 { try hosts.check(path) } }
      }
      let binding = CPUAffinity.current()
      let placements = try RankPlacement.gather(binding.placement, communicator: communicator)
      let networks = try interfaceAdvice(communicator)
      let engine = try EngineSelection(.native, communicator)
      let threads = placements.indices.map {
        RankPlacement.defaultThreadCount(rank: $0, placements: placements)
      }
      if communicator.rank == 0 { print(render(binding, placements, threads, engine)) }
      // Ranks of one host share its CPU; what was found is said even if a kernel then fails.
      let isFirstOfHost =
        placements.firstIndex { $0.hostHash == binding.placement.hostHash } == communicator.rank
      let kernels = try RankSession.together(communicator) {
        isFirstOfHost ? try KernelReport() : nil
      }
      guard communicator.rank == 0 else { return }
      for line in kernels?.lines ?? [] { print(Self.row("kernels", line)) }
      let advice = advice(binding, placements, threads) + networks
      print(advice.isEmpty ? "nothing to mend" : advice.map { "advice: \($0)" }.joined(separator: "\n"))
    }
  }

  private func render(
    _ binding: CPUAffinity, _ placements: [RankPlacement], _ threads: [Int], _ engine: EngineSelection
  ) -> String {
    let hosts = Dictionary(grouping: placements.indices) { placements[$0].hostHash }.values
    let perHost = hosts.map(\.count).sorted().map(String.init).joined(separator: ", ")
    let rows = [
      ("host", binding.hostName),
      ("CPU", HostInfo.cpuModel),
      ("vector units", HostInfo.vectorUnits.isEmpty ? "none known" : HostInfo.vectorUnits),
      ("cores", "\(binding.onlineCoreCount) online, rank 0 may use \(binding.usableCores.count)"),
      ("memory", HostInfo.memory),
      ("BLAS", "\(BLASLibrary.configuration), kernels for \(BLASLibrary.microarchitecture)"),
      ("ISA", KernelReport.choice),
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
    name.padding(toLength: 14, withPad: " ", startingAt: 0) + value
  }

  private func advice(
    _ binding: CPUAffinity, _ placements: [RankPlacement], _ threads: [Int]
  ) -> [String] {
    var result: [String] = []
    let local = placements.filter { $0.hostHash == binding.placement.hostHash }
    if binding.usableCores.count < binding.onlineCoreCount && local.count == 1 {
      result.append(
        "rank 0 is bound to \(binding.usableCores.count) of \(binding.onlineCoreCount) cores and is alone "
          + "on its host; mpirun --bind-to none gives it all of them.")
    }
    if local.count > binding.onlineCoreCount {
      result.append(
        "\(local.count) ranks share \(binding.onlineCoreCount) cores; pass mpirun --mca mpi_yield_when_idle 1 "
          + "so that waiting ranks leave them to working ones.")
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
  /// Looks for networks that would mislead Open MPI, over the hosts of all ranks.
  ///
  /// Every rank calls it.
  ///
  /// - Parameter communicator: The ranks.
  /// - Returns: Advice, one sentence each with its full stop; the same on every rank of a host.
  /// - Throws: `CommunicationError` if the exchange fails.
  func interfaceAdvice(_ communicator: any Communicator) throws -> [String] {
    let mine = HostInterfaces(host: CPUAffinity.current().hostName, interfaces: NetworkInterface.current())
    let all = try communicator.allGather(mine.line).compactMap(HostInterfaces.init(line:))
    var hosts: [HostInterfaces] = []
    for host in all where !hosts.contains(where: { $0.host == host.host }) { hosts.append(host) }
    var sentences = InterfaceCheck.sharedAddresses(hosts)
    // On a single host nobody needs its networks.
    if sentences.isEmpty && hosts.count > 1 {
      sentences += [InterfaceCheck.bridges(mine.interfaces)].compactMap { $0 }
    }
    return sentences.map { $0 + "." }
  }
}

/// The kernels of this machine: which are selected, and whether their results are correct.
struct KernelReport {
  /// One line per instruction set.
  let lines: [String]

  /// Checks the portable engine and the kernels of every instruction set that this CPU can run.
  ///
  /// - Throws: `KernelMismatch` if one computes wrongly; `StartupFailure` if a test's fault is not allowed.
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
        lines[lines.count - 1] += ", bitwise equal to \(first.name)"
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

  /// The instruction set that the native kernels would use, and the reason.
  static var choice: String {
    let all = InstructionSet.allCases.map(\.rawValue).joined(separator: ", ")
    let usable = InstructionSet.allCases.filter(\.isSupported).map(\.rawValue)
    let asked = ProcessInfo.processInfo.environment["WRN_ISA"] ?? ""
    if !asked.isEmpty {
      return "\(asked), because WRN_ISA asks for it; this CPU can run \(usable.joined(separator: ", "))"
    }
    guard let widest = usable.first else {
      return "none: kernels are built for \(all), and CPUID says that this CPU can run neither"
    }
    return "\(widest), the widest that CPUID says this CPU can run; kernels are built for \(all)"
  }
}
