import Collectives
import Datasets
import Foundation
import Models
import Training

/// The data sets of a report's runs, opened once each.
final class DatasetCache {
  private var sources: [String: Result<DataSource, any Error>] = [:]

  /// Opens the data set that a run was trained on.
  ///
  /// - Parameter run: The run.
  /// - Returns: The data set, whose fingerprint is the run's.
  /// - Throws: ``ReportError`` or `DatasetError` if it is not here, or another one is.
  func dataset(of run: ReportedRun) throws -> ImageDataset {
    let kind = run.setting("dataset").flatMap(DatasetKind.init(rawValue:)) ?? .cifar10
    // What the run was told, and what it found, if this process finds something else.
    let choices = [run.setting("data") ?? "auto", run.description?.dataDirectory].compactMap { $0 }
    var failure: (any Error)?
    for choice in choices {
      do {
        let dataset = try open(choice, kind)
        if try isSame(dataset, as: run) { return dataset }
      } catch { failure = failure ?? error }
    }
    throw failure
      ?? ReportError(
        .bad, "the data set here is not the one that the run was trained on; set $\(kind.environmentVariable).")
  }

  private func open(_ choice: String, _ kind: DatasetKind) throws -> ImageDataset {
    let key = "\(kind.rawValue)\n\(choice)"
    let source = sources[key] ?? Result { try DataSource(choice, kind: kind) }
    sources[key] = source
    return try source.get().dataset
  }

  private func isSame(_ dataset: ImageDataset, as run: ReportedRun) throws -> Bool {
    if let facts = run.facts { return try dataset.fingerprint() == facts.dataFingerprint }
    guard let digest = run.description?.dataDigest else { return false }
    return dataset.manifest().map { "\($0.name): \($0.value)" }.joined(separator: "; ") == digest
  }
}

/// An evaluation of a run's checkpoint for a report.
enum RunEvaluation {
  /// Classifies test images with a run's newest checkpoint, with the settings of the run's own evaluations.
  ///
  /// - Parameters:
  ///   - run: The run, which has a checkpoint.
  ///   - dataset: The run's data set.
  ///   - imageCount: The number of test images, rounded down to whole batches; the whole set if that is fewer.
  ///   - threadCount: The worker threads.
  /// - Returns: The predictions.
  /// - Throws: `CheckpointError`, `DatasetError`, or what starting threads throws.
  static func predictions(
    _ run: ReportedRun, _ dataset: ImageDataset, imageCount: Int, threadCount: Int
  ) throws -> Predictions {
    guard let checkpoint = run.checkpoint else { throw ReportError(.bad, "there is no checkpoint.") }
    let model = ModelState(try checkpoint.configuration().graph())
    try checkpoint.loadWeights(into: model)
    var configuration = TrainingConfiguration()
    configuration.batchSize = min(run.batchSize ?? 64, 1024)
    configuration.microbatches = run.setting("microbatches").flatMap { Int($0) } ?? 8
    // Settings are a file's, which may hold anything.
    if (try? configuration.microbatchPlan(SingleProcessCommunicator())) == nil {
      (configuration.batchSize, configuration.microbatches) = (64, 8)
    }
    configuration.dataset = dataset.kind
    configuration.normalize = run.setting("normalize").flatMap(NormalizationMode.init(rawValue:)) ?? .none
    configuration.evalStatistics =
      run.setting("eval-statistics").flatMap(NormalizationStatistics.init(rawValue:)) ?? .batch
    configuration.batchNorm = run.setting("batch-norm").flatMap(BatchNormalizationScope.init(rawValue:)) ?? .global
    let most = dataset.test.count / configuration.batchSize
    let batches = imageCount / configuration.batchSize
    configuration.evalBatches = batches >= most ? .all : .next(max(batches, 1))
    var (test, pipeline) = (dataset.test, ImagePipeline(normalization: configuration.publishedNormalization))
    if configuration.normalize == .zca {
      guard let store = try checkpoint.whitening() else {
        throw CheckpointError(.bad, "\(checkpoint.path) has no whitening.")
      }
      let whitening = try WhiteningFile.whitening(store)
      pipeline = ImagePipeline(normalization: .zca(whitening))
      test = try test.whitened(by: whitening)
    }
    let evaluation = Evaluation(
      model, split: test, pipeline: pipeline, configuration: configuration,
      engine: try configuration.engine.make(environment: ProcessInfo.processInfo.environment),
      pool: try WorkerPool(workerCount: threadCount), communicator: SingleProcessCommunicator())
    let logits = evaluation.makeLogits()
    _ = try evaluation(index: 0, logits: logits.pointer)
    return try evaluation.predictions(logits: logits, index: 0, step: checkpoint.state?.step ?? 0, weights: .raw)
  }
}
