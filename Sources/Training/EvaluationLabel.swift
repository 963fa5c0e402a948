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
