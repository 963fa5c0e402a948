import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import OpenMPI
import Training

/// Checks before the first step that all ranks run the same program with the same flags.
enum RunConsistency {
  /// Refuses ranks that run different builds of the program.
  ///
  /// Collective. Gathers the version and a digest of the executable.
  ///
  /// - Throws: `SettingsConsistency.Mismatch` on every rank (exit code 70); `CommunicationError` if communication fails.
  static func requireEqualPrograms(on communicator: any Communicator) throws {
    var program = [(name: "version of wrn-dist", value: WRNDist.configuration.version)]
    // Linux's name of the running executable; its path may differ between hosts.
    if let data = try? Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe"), options: .alwaysMapped) {
      var digest = ConsistencyDigest()
      data.withUnsafeBytes { digest.combine($0) }
      program.append((name: "build of wrn-dist", value: String(digest.value, radix: 16)))
    }
    try SettingsConsistency.verifyEqual(program, .program, on: communicator)
  }

  /// Refuses ranks that were started with different flags.
  ///
  /// Collective. Gathers the flags.
  ///
  /// - Throws: `SettingsConsistency.Mismatch` on every rank (exit code 64); `CommunicationError` if communication fails.
  static func requireEqualFlags(
    _ configuration: TrainingConfiguration, _ options: TrainingOptions, on communicator: any Communicator
  ) throws {
    // Paths may differ between hosts. Threads and the progress mode may differ between ranks. Rank 0 decides whether
    // ranks of one core join.
    let unchecked: Set = ["data", "output-dir", "threads", "shared-cores", "progress", "init", "resume"]
    var flags = configuration.settings.filter { !unchecked.contains($0.name) }
    if let epochs = configuration.epochs { flags.append((name: "epochs", value: String(epochs))) }
    // Writing a trace is collective.
    flags.append((name: "trace", value: options.output.trace ?? "not set"))
    try SettingsConsistency.verifyEqual(flags, .flags, on: communicator)
  }
}

/// The identity of a data set in a checkpoint.
struct DataIdentity {
  /// The hash of sizes, class names and a few images, as older programs write it.
  let fingerprint: String
  /// The number of images and the digest of all of them, for each split.
  let digest: String
}

extension DataSource {
  /// Refuses ranks with different images: with `--data auto` a host without the real data set uses the synthetic one.
  ///
  /// Collective. Gathers the manifests of the data sets.
  ///
  /// - Returns: The data set's identity, which covers all images.
  /// - Throws: `SettingsConsistency.Mismatch` on every rank if two differ (exit code 65), `CollectiveFailure` if a rank has an
  ///   invalid record, `CommunicationError` if communication fails.
  func verifiedIdentity(on communicator: any Communicator) throws -> DataIdentity {
    let fingerprint = try RankSession.collectively(communicator) { try dataset.fingerprint() }
    let manifest = dataset.manifest()
    try SettingsConsistency.verifyEqual(manifest, .data, on: communicator)
    return DataIdentity(
      fingerprint: fingerprint, digest: manifest.map { "\($0.name): \($0.value)" }.joined(separator: "; "))
  }
}

/// The convolution engine of all ranks.
struct EngineSelection {
  /// The engine of this rank.
  let engine: any ConvolutionEngine
  /// Its name and instruction set, such as `native (avx512)`.
  ///
  /// Other ranks' instruction sets are added if they differ, `native (avx512; avx2 on 1 of 4 ranks)`, and the reason of a
  /// fallback, `blas (Nehalem; native needs AVX2 and FMA)`.
  let description: String

  /// Creates the engine on every rank.
  ///
  /// Collective. Ranks may use different instruction sets, whose results are bitwise identical, but not different engines.
  /// `native` falls back to `blas` on a CPU without a native kernel build.
  ///
  /// - Throws: `CollectiveFailure` if a rank's CPU lacks the instruction set of `WRN_ISA`, `ConsistencyDigest.Mismatch` if
  ///   engines differ, `CommunicationError` if communication fails.
  init(_ requested: TrainingConfiguration.Engine, _ communicator: any Communicator) throws {
    let engine = try RankSession.collectively(communicator) {
      try requested.make(environment: ProcessInfo.processInfo.environment)
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
    let fallback = requested.rawValue == engine.name ? "" : "; \(requested.rawValue) needs AVX2 and FMA"
    self.engine = engine
    description = "\(engine.name) (\(engine.instructions)\(others.joined())\(fallback))"
  }

  /// The instruction set as a number; 255 for OpenBLAS, which selects its own.
  private static func code(_ engine: any ConvolutionEngine) -> UInt8 {
    InstructionSet.allCases.firstIndex { $0.rawValue == engine.instructions }.map(UInt8.init) ?? 255
  }
}

/// The number of worker threads per rank.
struct ThreadBudget {
  private let rank: Int
  private let affinity = CPUAffinity.current()
  private let placements: [RankPlacement]

  /// Gathers the hosts and cores of all ranks.
  ///
  /// Collective.
  ///
  /// - Throws: `CommunicationError` if communication fails.
  init(_ communicator: any Communicator) throws {
    rank = communicator.rank
    placements = try RankPlacement.allGather(affinity.placement, communicator: communicator)
  }

  /// Returns the requested number, or this rank's usable cores divided by the ranks that share them.
  ///
  /// Rank 0 writes a warning if a rank has fewer cores than the requested number.
  ///
  /// - Parameter requested: `--threads`, if given.
  /// - Returns: At least 1.
  /// - Throws: ``UsageError`` if the number is not positive; `StartupFailure` if the rank is bound to fewer cores.
  func count(requested: Int?) throws -> Int {
    guard let requested else {
      return RankPlacement.defaultThreadCount(rank: rank, placements: placements)
    }
    guard requested >= 1 else { throw UsageError("--threads \(requested) must be at least 1.") }
    let problem = RankPlacement.affinityProblem(
      rank: rank, threadCount: requested, usableCoreCount: affinity.usableCores.count,
      onlineCoreCount: affinity.onlineCoreCount)
    if let problem { throw StartupFailure(exitCode: ExitCodes.usage, message: problem) }
    if rank == 0, let warning = RankPlacement.threadWarning(threadCount: requested, placements: placements) {
      StandardError.write("warning: \(warning)")
    }
    return requested
  }
}

/// Checks before allocation that the planned memory fits every host.
enum MemoryCheck {
  /// Refuses a training run that does not fit.
  ///
  /// Collective. Gathers the planned bytes of all ranks.
  ///
  /// - Parameters:
  ///   - configuration: The run's settings.
  ///   - engine: The convolution engine.
  ///   - threadCount: This rank's threads.
  ///   - communicator: The ranks.
  /// - Throws: ``CollectiveFailure`` on every rank if the ranks of some host need more than its available memory.
  static func requireFits(
    _ configuration: TrainingConfiguration, engine: any ConvolutionEngine, threadCount: Int,
    _ communicator: any Communicator
  ) throws {
    let byteCount = try RankSession.collectively(communicator) {
      try configuration.plannedByteCount(
        configuration.microbatchPlan(communicator), engine: engine, workerCount: threadCount, rank: communicator.rank,
        hosts: communicator.hostOfRank)
    }
    try requireFits(byteCount, communicator)
  }

  /// Refuses allocations that do not fit.
  ///
  /// Collective. Gathers the planned bytes of all ranks.
  ///
  /// - Parameters:
  ///   - byteCount: The bytes that this rank allocates.
  ///   - communicator: The ranks.
  /// - Throws: ``CollectiveFailure`` on every rank if the ranks of some host need more than its available memory.
  static func requireFits(_ byteCount: Int, _ communicator: any Communicator) throws {
    let affinity = CPUAffinity.current()
    let host = affinity.placement.hostHash
    let records = try communicator.allGather([host, UInt64(byteCount)])
    let here = stride(from: 0, to: records.count, by: 2).filter { records[$0] == host }
    let total = here.reduce(0) { $0 + Int(records[$1 + 1]) }
    try RankSession.collectively(communicator) {
      guard let memory = HostMemory(), total > memory.availableByteCount else { return }
      let fewerRanks = here.count > 1 ? ", start fewer ranks per host" : ""
      throw StartupFailure(
        exitCode: ExitCodes.peerFailure,
        message: "\(here.count) rank(s) on \(affinity.hostName) need \(HostInfo.gibibytes(total)) of memory but "
          + "only \(HostInfo.gibibytes(memory.availableByteCount)) are \(memory.limit); lower --batch-size or "
          + "--widen-factor\(fewerRanks), or use a machine with more memory.")
    }
  }
}
