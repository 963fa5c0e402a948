import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import OpenMPI
import Training

/// What all ranks of a run must have alike before the first step.
enum RunConsistency {
  /// Refuses ranks that run different builds of the program.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: `SettingsConsistency.Mismatch` on every rank (exit code 70); `CommunicationError` if the exchange fails.
  static func requireEqualPrograms(on communicator: any Communicator) throws {
    var program = [(name: "version of wrn-dist", value: WRNDist.configuration.version)]
    // The kernel's name for the running file, which stays right when the path is another one on each host.
    if let data = try? Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe"), options: .alwaysMapped) {
      var digest = ConsistencyDigest()
      data.withUnsafeBytes { digest.combine($0) }
      program.append((name: "build of wrn-dist", value: String(digest.value, radix: 16)))
    }
    try SettingsConsistency.verifyEqual(program, .program, on: communicator)
  }

  /// Refuses ranks that were started with different flags.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: `SettingsConsistency.Mismatch` on every rank (exit code 64); `CommunicationError` if the exchange fails.
  static func requireEqualFlags(
    _ configuration: TrainingConfiguration, _ options: TrainingOptions, on communicator: any Communicator
  ) throws {
    // Folders may have other names on other hosts; threads, and who moves messages on, are each rank's own affair.
    let free: Set = ["data", "output-dir", "threads", "progress", "init", "resume"]
    var flags = configuration.settings.filter { !free.contains($0.name) }
    if let epochs = options.length.epochs { flags.append((name: "epochs", value: String(epochs))) }
    // A trace is gathered from all ranks, or from none.
    flags.append((name: "trace", value: options.output.trace ?? "not set"))
    try SettingsConsistency.verifyEqual(flags, .flags, on: communicator)
  }
}

extension DataSource {
  /// Refuses ranks that see different images: a host without the real set would take the synthetic one.
  ///
  /// Every rank calls it.
  ///
  /// - Returns: The data set's fingerprint.
  /// - Throws: `SettingsConsistency.Mismatch` on every rank if two differ (exit code 65), `CollectiveFailure` if one meets a bad
  ///   record, `CommunicationError` if the exchange fails.
  func agreedFingerprint(on communicator: any Communicator) throws -> String {
    let fingerprint = try RankSession.together(communicator) { try dataset.fingerprint() }
    // Alone there is nobody to differ from, and no reason to hash the whole set before the first step.
    if communicator.worldSize > 1 {
      try SettingsConsistency.verifyEqual(dataset.manifest(), .data, on: communicator)
    }
    return fingerprint
  }
}

/// The convolution engine that all ranks compute with.
struct EngineSelection {
  /// The engine of this rank.
  let engine: any ConvolutionEngine
  /// Its name and instruction set, those of other ranks where they differ, `native (avx512; avx2 on 1 of 4 ranks)`, and
  /// what was asked for if this CPU cannot run it, `blas (Nehalem; native needs AVX2 and FMA)`.
  let description: String

  /// Makes the engine on every rank.
  ///
  /// Every rank calls it. Ranks may run on different instruction sets, which give the same bits, but not on different
  /// engines: `native` falls back to `blas` on a CPU that it is not built for.
  ///
  /// - Throws: `CollectiveFailure` if a rank cannot run what `WRN_ISA` asks for, `ConsistencyDigest.Mismatch` if engines differ,
  ///   `CommunicationError` if the exchange fails.
  init(_ wanted: TrainingConfiguration.Engine, _ communicator: any Communicator) throws {
    let engine = try RankSession.together(communicator) {
      try wanted.make(environment: ProcessInfo.processInfo.environment)
    }
    var digest = ConsistencyDigest()
    digest.combine(engine.name)
    try digest.verifyEqual(
      "the convolution engine (native needs AVX2, --engine blas runs everywhere)", on: communicator)
    let mine = Self.code(engine)
    let codes = try communicator.allGather(mine)
    let others = InstructionSet.allCases.enumerated().compactMap { i, instructionSet in
      let count = codes.count { $0 == UInt8(i) && $0 != mine }
      return count == 0 ? nil : "; \(instructionSet.rawValue) on \(count) of \(codes.count) ranks"
    }
    let fallback = wanted.rawValue == engine.name ? "" : "; \(wanted.rawValue) needs AVX2 and FMA"
    self.engine = engine
    description = "\(engine.name) (\(engine.instructions)\(others.joined())\(fallback))"
  }

  /// The instruction set as a number; 255 for OpenBLAS, which chooses for itself.
  private static func code(_ engine: any ConvolutionEngine) -> UInt8 {
    InstructionSet.allCases.firstIndex { $0.rawValue == engine.instructions }.map(UInt8.init) ?? 255
  }
}

/// How many worker threads a rank may and should run.
struct ThreadBudget {
  private let rank: Int
  private let binding = CPUAffinity.current()
  private let placements: [RankPlacement]

  /// Asks all ranks where they run.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: `CommunicationError` if the exchange fails.
  init(_ communicator: any Communicator) throws {
    rank = communicator.rank
    placements = try RankPlacement.allGather(binding.placement, communicator: communicator)
  }

  /// Returns what was asked for, or the cores that this rank may use divided by the ranks that share them.
  ///
  /// - Parameter asked: `--threads`, if given.
  /// - Returns: At least 1.
  /// - Throws: `StartupFailure` if the rank is bound to fewer cores than the threads asked for.
  func count(asked: Int?) throws -> Int {
    guard let asked else {
      return RankPlacement.defaultThreadCount(rank: rank, placements: placements)
    }
    guard asked >= 1 else { throw UsageError("--threads \(asked) must be at least 1.") }
    let problem = RankPlacement.affinityProblem(
      rank: rank, threadCount: asked, usableCoreCount: binding.usableCores.count,
      onlineCoreCount: binding.onlineCoreCount)
    if let problem { throw StartupFailure(exitCode: ExitCodes.usage, message: problem) }
    return asked
  }
}

/// Refuses a run whose memory will not fit, before any of it is allocated.
enum MemoryCheck {
  /// Compares what the ranks of each host plan with what the host has left.
  ///
  /// Every rank calls it.
  ///
  /// - Parameters:
  ///   - byteCount: What this rank will allocate.
  ///   - communicator: The ranks.
  /// - Throws: ``CollectiveFailure`` on every rank if it does not fit on some host.
  static func requireFits(for byteCount: Int, _ communicator: any Communicator) throws {
    let binding = CPUAffinity.current()
    let host = binding.placement.hostHash
    let records = try communicator.allGather([host, UInt64(byteCount)])
    let here = stride(from: 0, to: records.count, by: 2).filter { records[$0] == host }
    let total = here.reduce(0) { $0 + Int(records[$1 + 1]) }
    try RankSession.together(communicator) {
      guard let memory = HostMemory(), total > memory.availableByteCount else { return }
      let fewerRanks = here.count > 1 ? ", start fewer ranks on a host" : ""
      throw StartupFailure(
        exitCode: ExitCodes.peerFailure,
        message: "\(here.count) rank(s) on \(binding.hostName) would need \(HostInfo.gibibytes(total)) of memory but "
          + "only \(HostInfo.gibibytes(memory.availableByteCount)) are \(memory.limit); lower --batch-size or "
          + "--widen-factor\(fewerRanks), or use a machine with more memory.")
    }
  }
}
