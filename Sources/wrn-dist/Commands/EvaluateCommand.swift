import ArgumentParser
import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import Tensors
import Training

/// Measures a checkpoint on the test set.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measures a checkpoint on the test set: loss, accuracy, accuracy of each class, confusion matrix.",
    discussion: """
      Depth and width are those of the tensors. Runs under mpirun as well; the result does not depend on the ranks.
      """)

  @Option(help: "A checkpoint folder, a run's folder (its latest checkpoint), or a .safetensors file.")
  var checkpoint: String
  @Option(help: "auto, synthetic, or a folder in CIFAR-10's binary layout.") var data = "auto"
  @Option(help: "Images of one batch.") var batchSize = 64
  @Option(help: "Equal parts of a batch.") var microbatches = 8
  @Option(help: "Test batches, or all.") var evalBatches = TrainingConfiguration.EvaluationBatches.all
  @Option(help: "Who evaluates: all ranks or the root.")
  var evalRanks = TrainingConfiguration.EvaluationRanks.all
  @Option(help: "Normalise by the batch's own or the running statistics.")
  var evalStatistics = NormalizationStatistics.batch
  @Option(help: "Batch statistics over the global batch or each microbatch.")
  var batchNorm = BatchNormalizationScope.global
  @Option(help: "What computes convolutions.") var engine = TrainingConfiguration.Engine.native
  @Option(help: "Threads of each rank. (default: the cores it may use / the ranks sharing them)")
  var threads: Int?
  @Option(help: "Write the logits of all images to this .safetensors file, as logits [images, 10].")
  var logitsOutput: String?
  @Flag(help: "Print one JSON object.") var json = false

  func run() throws {
    try RankSession.run { communicator in
      let threads = try ThreadBudget(communicator)
      let prepared = try RankSession.together(communicator) {
        try Prepared(self, threadCount: threads.count(asked: self.threads))
      }
      let chosen = try EngineSelection(engine, communicator)
      _ = try prepared.source.agreedFingerprint(on: communicator)
      let model = try loadModel(communicator)
      let byteCount = prepared.configuration.plannedEvaluationByteCount(
        model.network, engine: chosen.engine, workerCount: prepared.pool.workerCount,
        participates: evalRanks == .all || communicator.rank == 0)
      try MemoryCheck.requireFits(for: byteCount, communicator)
      let evaluation = Evaluation(
        model, split: prepared.source.dataset.test, configuration: prepared.configuration,
        engine: chosen.engine, pool: prepared.pool, communicator: communicator)
      var layout = ParameterLayout()
      if logitsOutput != nil {
        layout.append("logits", .bias, Shape(evaluation.exampleCount, model.network.classCount))
      }
      let logits = ParameterStore(layout)
      let result = try evaluation(index: 0, logits: logitsOutput == nil ? nil : logits.pointer)
      guard communicator.rank == 0 else { return }
      if let logitsOutput { try SafetensorsWriter.write(logits, to: logitsOutput) }
      let report = EvaluationReport(
        result: result, network: model.network.name,
        classNames: prepared.source.dataset.classNames, statistics: evalStatistics.rawValue)
      print(json ? try report.json() : "\(prepared.source.description)\n\(report.text)")
    }
  }

  /// What one rank can check and open by itself.
  private struct Prepared {
    let configuration: TrainingConfiguration
    let source: DataSource
    let pool: WorkerPool

    init(_ options: EvaluateCommand, threadCount: Int) throws {
      var configuration = TrainingConfiguration()
      configuration.batchSize = options.batchSize
      configuration.microbatches = options.microbatches
      configuration.evalBatches = options.evalBatches
      configuration.evalRanks = options.evalRanks
      configuration.evalStatistics = options.evalStatistics
      configuration.batchNorm = options.batchNorm
      _ = try MicrobatchPlan(
        globalBatchSize: options.batchSize, microbatchCount: options.microbatches, rank: 0,
        worldSize: 1)
      self.configuration = configuration
      source = try DataSource(options.data)
      try options.rejectRepeatedImages(of: source.dataset.test.count)
      pool = try WorkerPool(workerCount: threadCount)
    }
  }

  /// Refuses more batches than the test set has: the stream that they are taken from is endless.
  private func rejectRepeatedImages(of imageCount: Int) throws {
    let most = imageCount / batchSize
    guard case .next(let count) = evalBatches, count > most else { return }
    throw UsageError(
      "--eval-batches \(count) of --batch-size \(batchSize) are more than the \(imageCount) images of the test set, "
        + "so some would count twice; ask for \(most > 0 ? "\(most) at most, or " : "")all.")
  }

  /// Reads the checkpoint on rank 0 and hands it to all.
  ///
  /// Every rank calls it.
  private func loadModel(_ communicator: any Communicator) throws -> ModelState {
    var size = [0, 0]
    let loaded = try RankSession.together(communicator) { () -> ModelState? in
      guard communicator.rank == 0 else { return nil }
      let opened = try Checkpoint(checkpoint)
      let configuration = try opened.configuration()
      size = [configuration.depth, configuration.widenFactor]
      let model = ModelState(TraxWideResNet.graph(configuration), holdingMoments: false)
      // Where a file has no running statistics the fresh ones stay.
      model.network.initialize(model.parameters, model.runningStatistics, seed: 0)
      let hasStatistics = try opened.loadWeights(into: model)
      if !hasStatistics && evalStatistics == .running {
        throw UsageError(
          "\(checkpoint) has no running statistics; evaluate it with --eval-statistics batch.")
      }
      return model
    }
    try size.withUnsafeMutableBytes { try communicator.broadcast($0, root: 0) }
    let model =
      try loaded
      ?? ModelState(
        TraxWideResNet.graph(WideResNetConfiguration(depth: size[0], widenFactor: size[1])),
        holdingMoments: false)
    try model.broadcast(root: 0, momentsToo: false, on: communicator)
    return model
  }
}

/// An evaluation as `wrn-dist evaluate` prints it.
struct EvaluationReport {
  let result: Evaluation.Result
  let network: String
  let classNames: [String]
  let statistics: String

  /// Several lines for people.
  var text: String {
    let total = "\(result.correctCount) of \(result.exampleCount) images"
    var lines = [
      "\(network), \(statistics) statistics", "loss      \(String(format: "%.8f", result.loss))",
      "accuracy  \(percent(result.accuracy)) (\(total))", "",
    ]
    let width = classNames.map(\.count).max() ?? 0
    let cell = max(4, String(result.exampleCount).count + 1)
    let heading = classNames.indices.map { padded("\($0)", cell) }.joined()
    let blank = String(repeating: " ", count: width + 6)
    lines.append("\(blank)accuracy  taken for class\n\(blank)\(padded("", 8))  \(heading)")
    for label in classNames.indices {
      let name = classNames[label].padding(toLength: width, withPad: " ", startingAt: 0)
      let accuracy = result.confusion.accuracy(label: label).map(percent) ?? "none"
      let counts = result.confusion.row(label).map { padded("\($0)", cell) }.joined()
      lines.append("\(padded("\(label)", 3))  \(name) \(padded(accuracy, 8))  \(counts)")
    }
    return lines.joined(separator: "\n")
  }

  /// One JSON object.
  func json() throws -> String {
    struct Fields: Encodable {
      let network: String
      let statistics: String
      let loss: Double
      let accuracy: Double
      let examples: Int
      let classes: [String]
      let classAccuracy: [Double?]
      let confusion: [[Int]]
    }
    let fields = Fields(
      network: network, statistics: statistics, loss: result.loss, accuracy: result.accuracy,
      examples: result.exampleCount, classes: classNames,
      classAccuracy: classNames.indices.map { result.confusion.accuracy(label: $0) },
      confusion: classNames.indices.map { Array(result.confusion.row($0)) })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return String(decoding: try encoder.encode(fields), as: UTF8.self)
  }

  private func percent(_ part: Double) -> String { String(format: "%.2f %%", 100 * part) }

  private func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
