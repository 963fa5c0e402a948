import ArgumentParser
import Collectives
import DataParallel
import Datasets
import Foundation
import Models
import Support
import Tensors
import Training

/// Evaluates a checkpoint on the test set.
struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Evaluates a checkpoint on the test set: loss, accuracy, accuracy per class, confusion matrix.",
    discussion: """
      Family and size are those of the tensors; normalization and statistics are those of the run, unless flags say \
      otherwise. Runs under mpirun as well; the number of ranks does not affect the result.
      """)

  @Option(help: "\(HelpText.checkpoint)")
  var checkpoint: String
  @Option(help: "\(HelpText.weights)")
  var weights = EvaluatedWeights.raw
  @Option(help: "cifar10 or cifar100. (default: by the number of classes)") var dataset: DatasetKind?
  @Option(help: "auto, synthetic, or a directory in the data set's binary format.") var data = "auto"
  @Option(help: "Images per batch.") var batchSize = 64
  @Option(help: "\(HelpText.microbatches).") var microbatches = 8
  @Option(help: "Test batches, or all.") var evalBatches = TrainingConfiguration.EvaluationBatches.all
  @Option(help: "\(HelpText.evaluationRanks)")
  var evalRanks = TrainingConfiguration.EvaluationRanks.all
  @Option(help: "\(HelpText.evaluationStatistics) (default: the run's; batch for a bare file)")
  var evalStatistics: NormalizationStatistics?
  @Flag(inversion: .prefixedNo, help: "\(HelpText.testFlip) (default: the run's)")
  var testFlip: Bool?
  @Option(help: "Pixels: none, mean-std or zca. (default: the run's; none for a bare file)")
  var normalize: NormalizationMode?
  @Option(help: "\(HelpText.batchNorm)")
  var batchNorm = BatchNormalizationScope.global
  @Option(help: "\(HelpText.engine).") var engine = TrainingConfiguration.Engine.native
  @Option(help: "\(HelpText.threads)")
  var threads: Int?
  @Option(help: "Write the logits of all images to this .safetensors file, as tensor logits [images, classes].")
  var logitsOutput: String?
  @Flag(help: "Print one JSON object.") var json = false

  func run() throws {
    try RankSession.run { communicator in
      let threads = try ThreadBudget(communicator)
      let checkpoint = try EvaluatedCheckpoint(checkpoint, weights, communicator)
      let prepared = try RankSession.collectively(communicator) {
        try Prepared(self, checkpoint, threadCount: threads.count(requested: self.threads))
      }
      let selection = try EngineSelection(engine, communicator)
      _ = try prepared.source.verifiedIdentity(on: communicator)
      let (model, origin) = try checkpoint.load(
        needsStatistics: prepared.configuration.evalStatistics == .running, communicator)
      let byteCount = prepared.configuration.plannedEvaluationByteCount(
        model.graph, engine: selection.engine, workerCount: prepared.pool.workerCount,
        participates: evalRanks == .all || communicator.rank == 0)
      try MemoryCheck.requireFits(byteCount, communicator)
      var (test, pipeline) = (
        prepared.source.dataset.test,
        ImagePipeline(
          normalization: prepared.configuration.publishedNormalization)
      )
      if prepared.configuration.normalize == .zca {
        let whitening = try checkpoint.whitening(communicator)
        pipeline = ImagePipeline(normalization: .zca(whitening))
        test = try test.whitened(by: whitening)
      }
      let evaluation = Evaluation(
        model, split: test, pipeline: pipeline, configuration: prepared.configuration,
        engine: selection.engine, pool: prepared.pool, communicator: communicator)
      let console = StandardConsole()
      if communicator.rank == 0, console.isLive, !json { evaluation.showProgress(on: console) }
      let logits = logitsOutput == nil ? nil : evaluation.makeLogits()
      let result = try evaluation(index: 0, logits: logits?.pointer)
      guard communicator.rank == 0 else { return }
      console.clearLive()
      if let logitsOutput, let logits { try SafetensorsWriter.write(logits, to: logitsOutput) }
      let report = EvaluationReport(
        result: result, network: model.graph.name, checkpoint: origin.path, step: origin.step,
        classNames: prepared.source.dataset.classNames, statistics: prepared.configuration.evalStatistics.rawValue)
      print(json ? try report.json() : "\(prepared.source.description)\n\(report.text)")
    }
  }

  /// The settings, data and threads that a rank prepares without communication.
  private struct Prepared {
    let configuration: TrainingConfiguration
    let source: DataSource
    let pool: WorkerPool

    init(_ options: EvaluateCommand, _ checkpoint: EvaluatedCheckpoint, threadCount: Int) throws {
      var configuration = TrainingConfiguration()
      configuration.batchSize = options.batchSize
      configuration.microbatches = options.microbatches
      configuration.dataset = options.dataset ?? checkpoint.dataset
      configuration.normalize = options.normalize ?? checkpoint.normalize
      configuration.evalBatches = options.evalBatches
      configuration.evalRanks = options.evalRanks
      configuration.evalStatistics = options.evalStatistics ?? checkpoint.evalStatistics
      configuration.testFlip = options.testFlip ?? checkpoint.testFlip
      configuration.batchNorm = options.batchNorm
      guard configuration.dataset.classCount == checkpoint.model.classCount else {
        throw UsageError(
          "--dataset \(configuration.dataset.rawValue) has \(configuration.dataset.classCount) classes, but "
            + "\(options.checkpoint) has \(checkpoint.model.classCount); give the data set that it was trained on.")
      }
      _ = try MicrobatchPlan(
        globalBatchSize: options.batchSize, microbatchCount: options.microbatches, rank: 0,
        worldSize: 1)
      self.configuration = configuration
      source = try DataSource(options.data, kind: configuration.dataset)
      try options.rejectRepeatedImages(of: source.dataset.test.count)
      pool = try WorkerPool(workerCount: threadCount)
    }
  }

  /// Refuses more batches than the test set has, because the sampler repeats images.
  private func rejectRepeatedImages(of imageCount: Int) throws {
    let most = imageCount / batchSize
    guard case .next(let count) = evalBatches, count > most else { return }
    throw UsageError(
      "--eval-batches \(count) of --batch-size \(batchSize) exceed the \(imageCount) images of the test set, "
        + "so some would count twice; use \(most > 0 ? "at most \(most), or " : "")all.")
  }
}

extension Evaluation {
  /// Shows the progress on a terminal, from 2 s on.
  func showProgress(on console: StandardConsole) {
    let start = ProcessInfo.processInfo.systemUptime
    var last = start + 1.5
    onProgress = { done, total in
      let now = ProcessInfo.processInfo.systemUptime
      guard now - last >= 0.5 else { return }
      last = now
      console.showLive(
        ActivityLine.render(
          "evaluation", done: done, of: total, seconds: now - start, width: console.columns, bar: console.bar))
    }
  }
}

/// The report of `wrn-dist evaluate`.
struct EvaluationReport {
  let result: Evaluation.Result
  let network: String
  let checkpoint: String
  let step: Int?
  let classNames: [String]
  let statistics: String

  /// The human-readable report.
  var text: String {
    let total = "\(result.correctCount) of \(result.exampleCount) images"
    var lines = [
      "\(network), \(statistics) statistics", checkpoint + (step.map { ", after step \($0)" } ?? ""),
      "loss      \(String(format: "%.8f", result.loss))",
      "accuracy  \(percent(result.accuracy)) (\(total))",
    ]
    if let mirrored = result.mirroredConfusion {
      lines.append(
        "          \(percent(result.mirroredAccuracy ?? 0)) with mirror images (\(mirrored.correctCount) of "
          + "\(mirrored.exampleCount) images)")
    }
    lines.append("")
    let width = classNames.map(\.count).max() ?? 0
    let cell = max(4, String(result.exampleCount).count + 1)
    let heading = classNames.indices.map { "\($0)".rightAligned(cell) }.joined()
    let blank = String(repeating: " ", count: width + 6)
    lines.append("\(blank)accuracy  predicted class\n\(blank)\("".rightAligned(8))  \(heading)")
    for label in classNames.indices {
      let name = classNames[label].leftAligned(width)
      let accuracy = result.confusion.accuracy(label: label).map(percent) ?? "none"
      let counts = result.confusion.row(label).map { "\($0)".rightAligned(cell) }.joined()
      lines.append("\("\(label)".rightAligned(3))  \(name) \(accuracy.rightAligned(8))  \(counts)")
    }
    return lines.joined(separator: "\n")
  }

  /// The machine-readable report.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  func json() throws -> String {
    struct Fields: Encodable {
      let network: String
      let checkpoint: String
      let step: Int?
      let statistics: String
      let loss: Double
      let accuracy: Double
      let mirroredAccuracy: Double?
      let examples: Int
      let classes: [String]
      let classAccuracy: [Double?]
      let confusion: [[Int]]
    }
    let fields = Fields(
      network: network, checkpoint: checkpoint, step: step, statistics: statistics, loss: result.loss,
      accuracy: result.accuracy, mirroredAccuracy: result.mirroredAccuracy, examples: result.exampleCount,
      classes: classNames,
      classAccuracy: classNames.indices.map { result.confusion.accuracy(label: $0) },
      confusion: classNames.indices.map { Array(result.confusion.row($0)) })
    return try JSONLine.render(fields, escapesSlashes: true)
  }

  private func percent(_ share: Double) -> String { String(format: "%.2f %%", 100 * share) }
}
