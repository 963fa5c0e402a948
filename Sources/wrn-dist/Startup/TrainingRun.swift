import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import Tensors
import Training

/// The data, model, threads, output directory and initial state of a training run.
struct TrainingRun {
  /// The configuration, completed with steps and output directory.
  private(set) var configuration: TrainingConfiguration
  /// The data set.
  let source: DataSource
  /// Parameters, running statistics and optimizer state; zeros until ``start(_:)``.
  let model: ModelState
  /// The images that are trained on and evaluated; whitened after ``start(_:)`` if that is asked for.
  private(set) var dataset: ImageDataset
  /// The map from raw pixels to the network's input.
  private(set) var normalization: PixelNormalization
  private var whitening: ParameterStore?
  /// This rank's worker threads.
  let pool: WorkerPool
  /// The reports; on rank 0 only, after ``start(_:)``.
  private(set) var recorder: RunLogger?
  private let console: StandardConsole?
  private let tracePath: String?
  private var extra = ExtraOutputs()
  /// The steps without an update among those done; on rank 0.
  private var skippedSteps = 0
  // Otherwise rank 0 holds the state until the trainer scatters it.
  private let isOptimizerStateReplicated: Bool

  /// Opens the data set and allocates the model, without communication.
  ///
  /// - Throws: `DatasetError`, `CheckpointError`, ``UsageError``, `MicrobatchPlan.InvalidPlan`, `WorldSizeError`.
  init(
    _ configuration: TrainingConfiguration, _ options: TrainingOptions, threadCount: Int,
    _ communicator: any Communicator
  ) throws {
    var configuration = configuration
    _ = try configuration.microbatchPlan(communicator)
    source = try DataSource(configuration.data, kind: configuration.dataset)
    try configuration.completeLength(trainingCount: source.dataset.training.count)
    let network = try configuration.modelGraph()
    if configuration.outputDirectory.isEmpty {
      configuration.outputDirectory = Self.defaultOutputDirectory(network)
    }
    self.configuration = configuration
    dataset = source.dataset
    normalization = configuration.publishedNormalization
    tracePath = options.output.trace
    extra.metricTable = options.output.metricsCsv ?? false
    extra.prometheusTextfile = options.output.prometheusTextfile
    isOptimizerStateReplicated =
      configuration.optimizerState == .replicated || communicator.worldSize == 1
    model = ModelState(
      network,
      optimizerStates: isOptimizerStateReplicated || communicator.rank == 0
        ? configuration.optimizer.rule.stateNames : [])
    pool = try WorkerPool(workerCount: threadCount, progressing: communicator)
    console = communicator.rank == 0 ? StandardConsole(options.output.logFormat ?? .text) : nil
  }

  /// Initializes the state of all ranks from a checkpoint, from a file of weights, or from the seed.
  ///
  /// Collective. Only rank 0 reads and writes files, so the other ranks need no access to them. It broadcasts the state.
  ///
  /// - Returns: The number of completed steps.
  /// - Throws: `CollectiveFailure` on every rank if rank 0 fails; `SettingsConsistency.Mismatch` if ranks have different data.
  mutating func start(_ communicator: any Communicator) throws -> Int {
    let identity = try showing("reading the data set") { try source.verifiedIdentity(on: communicator) }
    var lease: RunLease?
    var completedSteps = try RankSession.collectively(communicator) {
      guard communicator.rank == 0 else { return 0 }
      // Before anything is read, so that no other run changes it meanwhile. A new directory holds nothing to read.
      if FileManager.default.fileExists(atPath: configuration.outputDirectory) {
        lease = try RunLease(configuration.outputDirectory)
        CheckpointDirectory("\(configuration.outputDirectory)/checkpoints").recover()
      }
      return try showing("loading the initial state") { try load(identity) }
    }
    try withUnsafeMutableBytes(of: &completedSteps) { try communicator.broadcast($0, root: 0) }
    try model.broadcast(root: 0, includingOptimizerStates: isOptimizerStateReplicated, on: communicator)
    try SettingsConsistency.verifyEqual(layoutSettings(), .layout, on: communicator)
    if configuration.normalize == .zca { try whiten(communicator) }
    let steps = completedSteps
    let opened = try RankSession.collectively(communicator) {
      communicator.rank == 0
        ? try openRecorder(completedSteps: steps, identity, lease) : nil
    }
    recorder = opened
    return completedSteps
  }

  /// Whitens all images by the whitening of the run, or by a new one of the training images that are not held out.
  ///
  /// Collective. Rank 0 fits it, since OpenBLAS rounds differently on other CPUs, and broadcasts it. Every rank holds all
  /// whitened images, 12 KiB each.
  private mutating func whiten(_ communicator: any Communicator) throws {
    let imageCount = source.dataset.training.count + source.dataset.test.count
    try MemoryCheck.requireFits(4 * ZCAWhitening.featureCount * imageCount, communicator)
    let store = try RankSession.collectively(communicator) {
      guard communicator.rank == 0 else { return WhiteningFile.makeStore() }
      if let saved = try checkpointToResume()?.whitening() { return saved }
      console?.write("fitting the ZCA whitening to the training images")
      let training = source.dataset.training.holdingOut(configuration.validation).training
      return try showing("fitting the ZCA whitening") { WhiteningFile.store(try ZCAWhitening(fittedTo: training)) }
    }
    try communicator.broadcast(store.bytes, root: 0)
    whitening = store
    let map = try WhiteningFile.whitening(store)
    normalization = .zca(map)
    let (all, pool) = (source.dataset, pool)
    dataset = try RankSession.collectively(communicator) {
      let splits = try [all.training, all.test].map { split in
        try split.whitened(by: map) { count, body in
          pool.parallelFor(count, with: body) { body, item, _ in body.pointee(item) }
        }
      }
      return all.replacing(training: splits[0], test: splits[1])
    }
  }

  /// Calls a body, whose name the console of rank 0 shows if it takes long.
  private func showing<Value>(_ activity: String, _ body: () throws -> Value) rethrows -> Value {
    guard let console else { return try body() }
    return try console.showing(activity, body)
  }

  /// The shapes of the model's tensors and a digest of the initial state.
  private func layoutSettings() -> [(name: String, value: String)] {
    var digest = ConsistencyDigest()
    for store in isOptimizerStateReplicated ? model.stores : model.replicatedStores {
      digest.combine(UnsafeRawBufferPointer(store.bytes))
    }
    return model.graph.parameterLayout.parameters.map { ("shape of \($0.name)", "\($0.shape)") }
      + [("digest of the initial parameters", String(digest.value, radix: 16))]
  }

  /// Loads the model's initial state and returns the number of completed steps.
  private mutating func load(_ identity: DataIdentity) throws -> Int {
    model.graph.initialize(
      model.parameters, model.runningStatistics, seed: configuration.seed, configuration.initialization)
    if let checkpoint = try checkpointToResume() {
      try requireResumable(checkpoint, identity)
      try checkpoint.load(into: model)
      try adopt(checkpoint)
      skippedSteps = checkpoint.state?.skippedSteps ?? 0
      return checkpoint.state?.step ?? 0
    }
    if let path = configuration.initialWeights {
      let checkpoint = try Checkpoint(path)
      for warning in checkpoint.warnings { console?.write("warning: \(warning)") }
      let hasStatistics = try checkpoint.loadWeights(into: model)
      console?.write(
        "weights from \(path)" + (hasStatistics ? "" : ", with initial running statistics, as the file has none"))
    }
    return 0
  }

  private func checkpointToResume() throws -> Checkpoint? {
    let directory = configuration.outputDirectory
    switch configuration.resume {
    case "auto":
      let (checkpoint, warnings) = try OutputDirectory.latestCheckpoint(in: directory, settingAside: true)
      for warning in warnings { console?.write("warning: \(warning)") }
      return checkpoint
    case "never":
      if OutputDirectory.holdsRun(directory) {
        throw StartupFailure(
          exitCode: ExitCodes.cannotCreate,
          message: "\(directory) already contains a run; give another --output-dir, or --resume auto to resume it.")
      }
      return nil
    default:
      let checkpoint = try Checkpoint(configuration.resume)
      for warning in checkpoint.warnings { console?.write("warning: \(warning)") }
      return checkpoint
    }
  }

  /// Makes a checkpoint that the user has named the one from which the run resumes, should it be killed before the next.
  private func adopt(_ checkpoint: Checkpoint) throws {
    let directory = configuration.outputDirectory
    guard !["auto", "never"].contains(configuration.resume), OutputDirectory.holdsRun(directory) else { return }
    let resolve = { URL(fileURLWithPath: $0).resolvingSymlinksInPath() }
    let location = resolve(checkpoint.path)
    guard location.deletingLastPathComponent() == resolve("\(directory)/checkpoints") else {
      throw StartupFailure(
        exitCode: ExitCodes.cannotCreate,
        message: "\(directory) already contains a run, to which \(checkpoint.path) does not belong; give another "
          + "--output-dir, or a checkpoint of \(directory).")
    }
    try CheckpointDirectory("\(directory)/checkpoints").setLatest(location.lastPathComponent)
  }

  /// Refuses a checkpoint whose settings or data would give other results.
  private func requireResumable(_ checkpoint: Checkpoint, _ identity: DataIdentity) throws {
    guard let state = checkpoint.state else { return }
    let saved = state.configuration
    // A checkpoint of a program without a setting was made with what is Trax's default now.
    let defaults = Dictionary(uniqueKeysWithValues: TrainingConfiguration().settings.map { ($0.name, $0.value) })
    for (name, value) in configuration.resumeSettings {
      let earlier = saved[name] ?? defaults[name] ?? "unknown"
      if earlier == value { continue }
      throw UsageError(
        "\(checkpoint.path) was made with --\(name) \(earlier) but this run has --\(name) "
          + "\(value); give the same value, or start a new run from its weights with --init and another --output-dir.")
    }
    if let engine = saved["engine"], engine != configuration.engine.rawValue {
      console?.write(
        "warning: \(checkpoint.path) was made with --engine \(engine); resuming with "
          + "--engine \(configuration.engine.rawValue) gives other rounding errors.")
    }
    // Checkpoints of older programs have no digest of all images.
    guard state.dataFingerprint == identity.fingerprint, state.dataDigest ?? identity.digest == identity.digest else {
      throw CheckpointError(
        .bad,
        "\(checkpoint.path) was trained on another data set (--data \(saved["data"] ?? "unknown")) than "
          + "--data \(configuration.data) gives now; give the same data, or start a new run from its weights "
          + "with --init and another --output-dir.")
    }
  }

  private func openRecorder(completedSteps: Int, _ identity: DataIdentity, _ lease: RunLease?) throws -> RunLogger? {
    guard let console else { return nil }
    // A trace inside the output directory can only be checked after that has been created; another one is checked before.
    let isInside = tracePath?.hasPrefix(configuration.outputDirectory + "/") ?? false
    if !isInside { try tracePath.map(TraceSession.check) }
    let output = try OutputDirectory(creating: configuration.outputDirectory, lease: lease)
    if isInside { try tracePath.map(TraceSession.check) }
    try output.write(SettingsFile.render(configuration.settings), to: "config.yaml")
    if let whitening { try SafetensorsWriter.write(whitening, to: output.path(WhiteningFile.name)) }
    console.write(source.description)
    return try RunLogger(
      configuration, networkName: model.graph.name, output: output,
      completedSteps: completedSteps, trainingCount: source.dataset.training.count - configuration.validation,
      dataFingerprint: identity.fingerprint, dataDigest: identity.digest, whitening: whitening,
      skippedSteps: skippedSteps, extra: extra, console: console)
  }

  /// Returns a new name such as `runs/20261123-180000-WRN-22-1`.
  private static func defaultOutputDirectory(_ network: ModelGraph) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.dateFormat = "yyyyMMdd-HHmmss"
    return "runs/\(formatter.string(from: Date()))-\(network.name)"
  }
}
