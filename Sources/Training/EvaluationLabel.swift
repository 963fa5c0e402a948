import Optimizers

/// The images and weights of an evaluation, as reports and logs name them.
struct EvaluationLabel: Hashable {
  /// The images that were classified.
  enum Images: String {
    /// The test set.
    case test
    /// The held-out training images.
    case validation
  }

  let images: Images
  let weights: EvaluatedWeights

  /// The report's word for the task, in at most five letters as Trax's `eval`: `avg` is that of averaged weights.
  var task: String {
    switch (images, weights) {
    case (.test, .raw): "eval"
    case (.test, .average): "avg"
    case (.validation, .raw): "valid"
    case (.validation, .average): "vavg"
    }
  }

  /// What precedes TensorBoard's tags; empty for Trax's own.
  var tagPrefix: String {
    (images == .test ? "" : "validation/") + (weights == .raw ? "" : "average/")
  }
}

/// The weights that an evaluation measures.
public enum EvaluatedWeights: String, Sendable, Codable, CaseIterable {
  /// Those of the last update.
  case raw
  /// Their average over many updates.
  case average
}

extension TrainingConfiguration {
  /// The parts of the evaluation after a step, in order; none if the run does not evaluate.
  ///
  /// With held-out images the test set is kept for the last step: nothing can be chosen by it.
  func evaluationLabels(after step: Int) -> [EvaluationLabel] {
    guard evalEvery > 0 else { return [] }
    let hasAverage =
      optimizer.averageDecay > 0 && AveragingRule.hasAverage(at: step, every: optimizer.averageEvery)
    let weights: [EvaluatedWeights] = hasAverage ? [.raw, .average] : [.raw]
    let images: [EvaluationLabel.Images] =
      validation == 0 ? [.test] : step == steps ? [.validation, .test] : [.validation]
    return weights.flatMap { weights in images.map { EvaluationLabel(images: $0, weights: weights) } }
  }
}
