import ArgumentParser
import Collectives
import Datasets
import Models
import Training

/// The flags that select a trained model for `predict` and `export`.
struct InferenceOptions: ParsableArguments {
  @Option(help: "\(HelpText.checkpoint)")
  var checkpoint: String
  @Option(help: "\(HelpText.weights)")
  var weights = EvaluatedWeights.raw
  @Option(help: "Pixels: none, mean-std or zca. (default: the run's; none for a bare file)")
  var normalize: NormalizationMode?
  @Option(help: "\(HelpText.classNames)")
  var classes: String?
}

/// A trained model with its pixel normalization and class names, for inference in one process.
struct InferenceModel {
  /// Parameters and running statistics.
  let state: ModelState
  /// The map from raw pixels to the model's input.
  let normalization: PixelNormalization
  /// The class names, in the order of the labels.
  let classNames: [String]
  /// Network, weights, checkpoint and step, in one line.
  let description: String
  /// The step of the checkpoint; `nil` for a bare file.
  let step: Int?

  /// Opens a checkpoint.
  ///
  /// Warns on standard error of skipped checkpoints, and of class names that may be wrong.
  ///
  /// - Throws: `CollectiveFailure` or `CheckpointError` if the checkpoint is invalid or has no running statistics;
  ///   ``UsageError`` if the class names do not fit the model.
  init(_ options: InferenceOptions) throws {
    let alone = SingleProcessCommunicator()
    let checkpoint = try EvaluatedCheckpoint(options.checkpoint, options.weights, alone)
    let (state, origin) = try checkpoint.load(needsStatistics: false, alone)
    guard origin.hasStatistics else {
      throw CheckpointError(
        .bad, "\(options.checkpoint) has no running statistics, which predictions need; give a checkpoint of a run.")
    }
    self.state = state
    step = origin.step
    var configuration = TrainingConfiguration()
    configuration.dataset = checkpoint.dataset
    configuration.normalize = options.normalize ?? checkpoint.normalize
    normalization =
      configuration.normalize == .zca
      ? .zca(try checkpoint.whitening(alone)) : configuration.publishedNormalization
    classNames = try options.classNames(of: checkpoint)
    description =
      "\(state.graph.name), \(options.weights == .raw ? "raw" : "averaged") weights, \(origin.path)"
      + (origin.step.map { ", after step \($0)" } ?? "")
  }
}

/// What is known of the images that a model was trained on.
enum ImageOrigin {
  /// The real data set.
  case official
  /// The embedded synthetic set.
  case synthetic
  /// Another data set, which may have other class names.
  case other
  /// Nothing: a bare file.
  case unknown
}

extension InferenceOptions {
  /// Returns the class names of a file, or of the run's data set.
  fileprivate func classNames(of checkpoint: EvaluatedCheckpoint) throws -> [String] {
    let count = checkpoint.model.classCount
    if let classes {
      guard let names = ImageDataset.readClassNames(classes) else {
        throw DatasetError("--classes \(classes) cannot be read; give a text file with a class name per line.")
      }
      guard names.count == count else {
        throw UsageError("--classes \(classes) has \(names.count) names, but the model has \(count) classes.")
      }
      return names
    }
    let kind = checkpoint.dataset
    guard kind.classCount == count else { return (0..<count).map { "class \($0)" } }
    switch checkpoint.imageOrigin {
    case .synthetic: return SyntheticDataset.classNames(kind)
    case .other where kind == .cifar10:
      StandardError.write(
        "warning: the run's data set is not the real \(kind.title), whose class names are shown; if it has others, "
          + "give --classes FILE.")
    default: break
    }
    return kind.officialClassNames
  }
}
