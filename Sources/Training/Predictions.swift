import Datasets
import Foundation
import Tensors

/// The predictions of one evaluation on test images: the contents of a run's `predictions.json`.
///
/// A run writes those of its last evaluation, so that reports need not evaluate again.
public struct Predictions: Codable, Hashable, Sendable {
  /// The version of the layout that this program writes.
  public static let formatVersion = 1
  /// The name of the file in a run's directory.
  public static let fileName = "predictions.json"

  /// The version of the layout.
  public var formatVersion = Self.formatVersion
  /// The last step of the weights.
  public var step: Int
  /// The weights: `raw` or `average`.
  public var weights: EvaluatedWeights
  /// The statistics of the batch norms: `batch` or `running`.
  public var statistics: String
  /// The number of classes.
  public var classCount: Int
  /// The index of every image in the test set.
  public var images: [Int]
  /// The label of every image.
  public var labels: [Int]
  /// The class with the largest logit of every image; the lowest one among equals.
  public var predictions: [Int]
  /// The softmax probability of the predicted class, 0 … 1, rounded to four decimals; 0 if it is not finite.
  ///
  /// It is NaN if a logit is NaN or infinite, and JSON has no NaN.
  public var confidences: [Double]

  /// Creates predictions from logits.
  ///
  /// - Parameters:
  ///   - logits: `[images, classes]`.
  ///   - images: The index of every image in the split.
  ///   - split: The test set.
  ///   - step: The last step of the weights.
  ///   - weights: The weights.
  ///   - statistics: The statistics of the batch norms.
  /// - Throws: `DatasetError` if a record is invalid.
  public init(
    logits: UnsafeBufferPointer<Float>, images: [Int], split: ImageDataset.Split, step: Int,
    weights: EvaluatedWeights, statistics: String
  ) throws {
    precondition(logits.count == images.count * split.kind.classCount, "every image has a logit per class")
    self.step = step
    self.weights = weights
    self.statistics = statistics
    classCount = split.kind.classCount
    self.images = images
    labels = try images.map { try Int(split.withImage(at: $0) { label, _ in label }) }
    predictions = []
    confidences = []
    for i in images.indices {
      let row = logits[i * classCount..<(i + 1) * classCount]
      let prediction = row.indices.reduce(row.startIndex) { row[$1] > row[$0] ? $1 : $0 }
      let sum = row.reduce(0) { $0 + ReproducibleMath.exp(Double($1) - Double(row[prediction])) }
      predictions.append(prediction - row.startIndex)
      let confidence = (10_000 / sum).rounded() / 10_000
      confidences.append(confidence.isFinite ? confidence : 0)
    }
  }

  /// Reads a run's predictions.
  ///
  /// - Parameter directory: The run's directory.
  /// - Returns: The predictions; `nil` if there are none, they are damaged or contradict themselves, or a newer program has
  ///   written them.
  public static func read(_ directory: String) -> Predictions? {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    guard let data = FileManager.default.contents(atPath: "\(directory)/\(fileName)"),
      let read = try? decoder.decode(Predictions.self, from: data), (1...formatVersion).contains(read.formatVersion)
    else { return nil }
    return read.isConsistent ? read : nil
  }

  /// The file's contents.
  ///
  /// - Throws: `EncodingError` for a number that JSON lacks.
  public func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
  }

  /// How often images of each class were predicted as each class.
  public var confusion: ConfusionMatrix {
    var matrix = ConfusionMatrix(classCount: classCount)
    for (label, prediction) in zip(labels, predictions) { matrix.count(label: label, prediction: prediction) }
    return matrix
  }

  private var isConsistent: Bool {
    let classes = 0..<classCount
    return DatasetKind.allCases.contains { $0.classCount == classCount } && !images.isEmpty
      && [labels.count, predictions.count, confidences.count].allSatisfy { $0 == images.count }
      && labels.allSatisfy(classes.contains) && predictions.allSatisfy(classes.contains)
      && images.allSatisfy { $0 >= 0 } && confidences.allSatisfy { $0.isFinite }
  }
}
