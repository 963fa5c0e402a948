import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import Tensors
import Training

/// What a training run needs before its first step: data, network, threads, a folder, a state to start from.
struct TrainingRun {
  /// The configuration with everything filled in.
  private(set) var configuration: TrainingConfiguration
  /// Where the images come from.
  let source: DataSource
  /// Parameters, statistics and moments; zeros until ``start(_:)``.
  let model: ModelState
  /// This rank's threads.
  let pool: WorkerPool
  /// Writes reports; on rank 0 alone, after ``start(_:)``.
  private(set) var recorder: RunLogger?
  private let console: StandardConsole?
  private let tracePath: String?
  // Else rank 0 holds them until the trainer hands them to their owners.
  private let everyRankHoldsMoments: Bool

  /// Opens data and plans the network on one rank.
  ///
  /// - Throws: `DatasetError`, `CheckpointError`, ``UsageError``, `MicrobatchPlan.InvalidPlan`, `WorldSizeError`.
  init(
    _ configuration: TrainingConfiguration, _ options: TrainingOptions, threadCount: Int,
    _ communicator: any Communicator
  ) throws {
    var configuration = configuration
    _ = try configuration.microbatchPlan(communicator)
    source = try DataSource(configuration.data)
    configuration.steps = options.steps(
      configuration, trainingCount: source.dataset.training.count)
    let network = try configuration.modelGraph()
    if configuration.outputDirectory.isEmpty {
      configuration.outputDirectory = Self.defaultOutputDirectory(network)
    }
    self.configuration = configuration
    tracePath = options.output.trace
    everyRankHoldsMoments =
      configuration.optimizerState == .replicated || communicator.worldSize == 1
    model = ModelState(network, holdingMoments: everyRankHoldsMoments || communicator.rank == 0)
    pool = try WorkerPool(workerCount: threadCount, progressing: communicator)
    console = communicator.rank == 0 ? StandardConsole() : nil
  }

  /// Brings all ranks to one state: that of a checkpoint, of a file of weights, or a fresh one.
  ///
  /// Every rank calls it.
  ///
  /// Rank 0 alone reads and writes files, so the others need not see its disk.
  ///
  /// - Returns: The steps already done.
  /// - Throws: `CollectiveFailure` on every rank if rank 0 fails; `SettingsConsistency.Difference` if ranks see different data.
  mutating func start(_ communicator: any Communicator) throws -> Int {
    let fingerprint = try source.agreedFingerprint(on: communicator)
    var completedSteps = try RankSession.together(communicator) {
      communicator.rank == 0 ? try load(dataFingerprint: fingerprint) : 0
    }
    try withUnsafeMutableBytes(of: &completedSteps) { try communicator.broadcast($0, root: 0) }
    try model.broadcast(root: 0, momentsToo: everyRankHoldsMoments, on: communicator)
    try SettingsConsistency.requireEqual(layoutSettings(), .layout, on: communicator)
    let steps = completedSteps
    let opened = try RankSession.together(communicator) {
      communicator.rank == 0
        ? try openRecorder(completedSteps: steps, dataFingerprint: fingerprint) : nil
    }
    recorder = opened
    return completedSteps
  }

  /// The network's tensors and a digest of the numbers that the run starts from.
  private func layoutSettings() -> [(name: String, value: String)] {
    var digest = ConsistencyDigest()
    for store in everyRankHoldsMoments ? model.stores : model.weights {
      digest.combine(UnsafeRawBufferPointer(store.bytes))
    }
    return model.network.parameterLayout.parameters.map { ("shape of \($0.name)", "\($0.shape)") }
      + [("digest of the initial parameters", String(digest.value, radix: 16))]
  }

  /// Fills the model from where the run starts, and returns the steps already done.
  private func load(dataFingerprint: String) throws -> Int {
    model.network.initialize(
      model.parameters, model.runningStatistics, seed: configuration.seed)
    if let checkpoint = try checkpointToResume() {
      try requireResumable(checkpoint, dataFingerprint: dataFingerprint)
      try checkpoint.load(into: model)
      return checkpoint.state?.step ?? 0
    }
    if let path = configuration.initialWeights {
      let hasStatistics = try Checkpoint(path).loadWeights(into: model)
      console?.write(
        "weights from \(path)" + (hasStatistics ? "" : ", which has no running statistics: fresh ones"))
    }
    return 0
  }

  private func checkpointToResume() throws -> Checkpoint? {
    let folder = configuration.outputDirectory
    switch configuration.resume {
    case "auto":
      let (checkpoint, warnings) = try OutputDirectory.latestCheckpoint(in: folder)
      for warning in warnings { console?.write("warning: \(warning)") }
      return checkpoint
    case "never":
      if OutputDirectory.holdsRun(folder) {
        throw StartupFailure(
          exitCode: ExitCodes.cannotCreate,
          message: "\(folder) holds a run already; give another --output-dir, or --resume auto to go on with it.")
      }
      return nil
    default:
      return try Checkpoint(configuration.resume)
    }
  }

  /// Refuses a checkpoint that was made under settings which decide the bits.
  private func requireResumable(_ checkpoint: Checkpoint, dataFingerprint: String) throws {
    guard let state = checkpoint.state else { return }
    let saved = state.configuration
    for (name, value) in configuration.identity where saved[name] != value {
      throw CheckpointError(
        .bad,
        "\(checkpoint.path) was made with --\(name) \(saved[name] ?? "unknown") but this run has --\(name) "
          + "\(value); give the same value, or start a new run from its weights with --init and another --output-dir.")
    }
    if let engine = saved["engine"], engine != configuration.engine.rawValue {
      console?.write(
        "warning: \(checkpoint.path) was made with --engine \(engine); with --engine \(configuration.engine.rawValue) the run "
          + "goes on with other roundings than it would have had.")
    }
    guard state.dataFingerprint == dataFingerprint else {
      throw CheckpointError(
        .bad,
        "\(checkpoint.path) was trained on another data set (--data \(saved["data"] ?? "unknown")) than "
          + "--data \(configuration.data) gives now; give the same data, or start a new run from its weights "
          + "with --init and another --output-dir.")
    }
  }

  private func openRecorder(completedSteps: Int, dataFingerprint: String) throws -> RunLogger? {
    guard let console else { return nil }
    // A trace may go where the output does, which must not be made in vain.
    let isInside = tracePath?.hasPrefix(configuration.outputDirectory + "/") ?? false
    if !isInside { try tracePath.map(TraceSession.check) }
    let output = try OutputDirectory(creating: configuration.outputDirectory)
    if isInside { try tracePath.map(TraceSession.check) }
    try output.write(ConfigurationFile.render(configuration.settings), to: "config.yaml")
    console.write(source.description)
    return try RunLogger(
      configuration, networkName: model.network.name, output: output,
      completedSteps: completedSteps, trainingCount: source.dataset.training.count,
      dataFingerprint: dataFingerprint, console: console)
  }

  /// `runs/20261123-180000-WRN-22-1`: every run without a name gets a new folder.
  private static func defaultOutputDirectory(_ network: ModelGraph) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.dateFormat = "yyyyMMdd-HHmmss"
    return "runs/\(formatter.string(from: Date()))-\(network.name)"
  }
}
