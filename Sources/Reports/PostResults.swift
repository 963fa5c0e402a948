import Training

/// The results that the original blog post prints, beside which a report places runs of the same recipe.
///
/// Source: the log that S. Maheshkar's post on Wide Residual Networks with Trax prints (December 2020, Trax 1.3.6), 5,000 steps
/// of 64 images. The training loss is the mean over the steps since the row before. The evaluation covers 20 batches. The
/// seconds are those of the post's own machine.
enum PostResults {
  /// One row of the post's log.
  struct Row: Hashable, Sendable {
    /// The step after which it was printed.
    let step: Int
    /// The mean training loss since the row before.
    let trainingLoss: Double
    /// The mean cross entropy of the evaluation.
    let evaluationLoss: Double
    /// The accuracy of the evaluation, 0 … 1.
    let accuracy: Double
    /// The seconds since the row before.
    let seconds: Double
  }

  /// The rows by widen factor.
  static let rows: [Int: [Row]] = [
    1: [
      Row(step: 1, trainingLoss: 2.23222899, evaluationLoss: 2.29001374, accuracy: 0.17578125, seconds: 50.80),
      Row(step: 1000, trainingLoss: 1.51696503, evaluationLoss: 1.24389263, accuracy: 0.55156250, seconds: 450.67),
      Row(step: 2000, trainingLoss: 1.14578664, evaluationLoss: 1.07358952, accuracy: 0.60625000, seconds: 391.61),
      Row(step: 3000, trainingLoss: 0.98207539, evaluationLoss: 0.97521102, accuracy: 0.66406250, seconds: 379.49),
      Row(step: 4000, trainingLoss: 0.87311232, evaluationLoss: 0.86088786, accuracy: 0.71328125, seconds: 375.78),
      Row(step: 5000, trainingLoss: 0.79590148, evaluationLoss: 0.90162431, accuracy: 0.67968750, seconds: 382.36),
    ],
    2: [
      Row(step: 1, trainingLoss: 2.45481586, evaluationLoss: 2.29830315, accuracy: 0.17265625, seconds: 47.65),
      Row(step: 1000, trainingLoss: 1.53430188, evaluationLoss: 1.26175007, accuracy: 0.54296875, seconds: 912.74),
      Row(step: 2000, trainingLoss: 1.13339007, evaluationLoss: 0.98637019, accuracy: 0.65390625, seconds: 898.69),
      Row(step: 3000, trainingLoss: 0.94035697, evaluationLoss: 0.89243511, accuracy: 0.68906250, seconds: 914.89),
      Row(step: 4000, trainingLoss: 0.82797289, evaluationLoss: 0.86628049, accuracy: 0.70156250, seconds: 878.78),
      Row(step: 5000, trainingLoss: 0.74435514, evaluationLoss: 0.82093265, accuracy: 0.70859375, seconds: 896.67),
    ],
    3: [
      Row(step: 1, trainingLoss: 2.46369076, evaluationLoss: 2.42145765, accuracy: 0.16015625, seconds: 49.64),
      Row(step: 1000, trainingLoss: 1.55000281, evaluationLoss: 1.31225752, accuracy: 0.53203125, seconds: 1462.86),
      Row(step: 2000, trainingLoss: 1.14296257, evaluationLoss: 1.05580651, accuracy: 0.61796875, seconds: 1417.44),
      Row(step: 3000, trainingLoss: 0.96064937, evaluationLoss: 0.91904441, accuracy: 0.66093750, seconds: 1412.55),
      Row(step: 4000, trainingLoss: 0.86051035, evaluationLoss: 0.79895681, accuracy: 0.71875000, seconds: 1394.65),
      Row(step: 5000, trainingLoss: 0.76998872, evaluationLoss: 0.79824924, accuracy: 0.73046875, seconds: 1325.14),
    ],
    4: [
      Row(step: 1, trainingLoss: 2.46660376, evaluationLoss: 2.54380413, accuracy: 0.18828125, seconds: 50.33),
      Row(step: 1000, trainingLoss: 1.60101640, evaluationLoss: 1.32047499, accuracy: 0.51562500, seconds: 2232.45),
      Row(step: 2000, trainingLoss: 1.23905230, evaluationLoss: 1.14217659, accuracy: 0.59140625, seconds: 2207.08),
      Row(step: 3000, trainingLoss: 1.02972627, evaluationLoss: 0.95948886, accuracy: 0.66015625, seconds: 2193.96),
      Row(step: 4000, trainingLoss: 0.88306051, evaluationLoss: 0.92772388, accuracy: 0.66796875, seconds: 2184.98),
      Row(step: 5000, trainingLoss: 0.79552704, evaluationLoss: 0.73757971, accuracy: 0.72968750, seconds: 2179.92),
    ],
  ]

  /// The settings that a run must share with the post for a comparison: all that the result depends on, but the widen factor,
  /// and those in which the post is not reproduced: seed, microbatches (of an equal sum) and number format of messages.
  static let settings =
    TrainingConfiguration(recipe: .trax).resumeSettings
    .filter { !["widen-factor", "seed", "microbatches", "wire", "depth"].contains($0.name) } + [("depth", "22")]

  /// Returns the post's rows for a run's settings.
  ///
  /// - Parameter settings: The settings by flag name.
  /// - Returns: The rows; `nil` if the run is another experiment.
  static func rows(for settings: [String: String]) -> [Row]? {
    guard let factor = settings["widen-factor"].flatMap({ Int($0) }) else { return nil }
    for (name, value) in Self.settings {
      guard let other = settings[name] else {
        // Older programs had fewer settings, with the post's values.
        if name == "batch-size" || name == "depth" { return nil }
        continue
      }
      guard other == value || Double(other) != nil && Double(other) == Double(value) else { return nil }
    }
    return rows[factor]
  }
}
