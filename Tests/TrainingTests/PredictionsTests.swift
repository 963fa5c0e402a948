import Datasets
import Foundation
import TestSupport
import Testing
import Training

/// A run's `predictions.json`.
@Suite struct PredictionsTests {
  /// JSON has no NaN, which would end a complete run with an error.
  @Test func logitsThatAreNotFiniteHaveNoConfidence() throws {
    let folder = try TemporaryDirectory()
    // Images of ten classes: an infinity, a NaN, minus infinity, and one that is certain.
    var logits = [Float](repeating: 0, count: 40)
    let special: [Int: Float] = [1: .infinity, 12: .nan, 25: -.infinity, 37: 50]
    for (i, logit) in special { logits[i] = logit }
    let predictions = try logits.withUnsafeBufferPointer {
      try Predictions(
        logits: $0, images: [0, 1, 2, 3], split: SyntheticDataset.dataset().test, step: 7, weights: .raw,
        statistics: "batch")
    }
    #expect(predictions.predictions == [1, 0, 0, 7])
    #expect(predictions.confidences == [0, 0, 0.1111, 1])
    try folder.write(Predictions.fileName, try predictions.json())
    #expect(Predictions.read(folder.path) == predictions)
  }
}
