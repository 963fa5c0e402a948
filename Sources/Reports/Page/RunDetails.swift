import Charts
import Datasets
import Foundation
import Training

/// A run with the images and tables of its section of the page.
package struct RunDetails {
  /// An image that was classified wrongly.
  package struct Mistake {
    /// The index in the test set.
    package let image: Int
    /// The label.
    package let label: Int
    /// The predicted class.
    package let prediction: Int
    /// The probability of the prediction, 0 … 1.
    package let confidence: Double
  }

  /// The run.
  let run: ReportedRun
  /// The class names.
  private let classNames: [String]
  /// The mistakes with their images, most confident first.
  private let mistakes: [(mistake: Mistake, address: String)]
  /// The image of the first layer's kernels.
  private let kernels: String?
  /// The image of a confusion matrix too large for a table.
  private let heat: String?
  /// Why images or predictions are missing.
  private let omissions: [String]

  /// Classes up to which the confusion matrix is a table.
  private static let tableClassLimit = 20

  /// Makes the images of a run.
  ///
  /// - Parameters:
  ///   - run: The run.
  ///   - datasets: The data sets opened so far.
  ///   - mistakeCount: The largest number of wrongly classified images.
  /// - Throws: `ImageError` if the confusion matrix cannot be encoded as an image.
  init(_ run: ReportedRun, datasets: DatasetCache, mistakeCount: Int) throws {
    self.run = run
    var omissions = run.remarks
    var names = run.description?.classNames ?? []
    var mistakes: [(Mistake, String)] = []
    if let predictions = run.predictions {
      do {
        let dataset = try datasets.dataset(of: run)
        names = dataset.classNames
        for mistake in Self.mistakes(predictions).prefix(mistakeCount) where mistake.image < dataset.test.count {
          mistakes.append((mistake, try RunPictures.image(mistake.image, of: dataset.test).dataAddress()))
        }
      } catch {
        omissions.append("No images: \(error)")
      }
    } else {
      omissions.append(
        "No confusion matrix and no images: the run has left no predictions, and its checkpoint was not evaluated for this report."
      )
    }
    var kernels: String?
    if let checkpoint = run.checkpoint {
      do { kernels = try RunPictures.kernels(checkpoint).dataAddress() } catch {
        omissions.append("No kernels of the first layer: \(error)")
      }
    } else {
      omissions.append("No kernels of the first layer: there is no checkpoint that can be read.")
    }
    let classCount = run.predictions?.classCount ?? 0
    classNames = (0..<classCount).map { names.count == classCount ? names[$0] : "class \($0)" }
    heat =
      try classCount > Self.tableClassLimit
      ? run.predictions.map { try RunPictures.confusion($0.confusion).dataAddress() } : nil
    self.mistakes = mistakes
    self.kernels = kernels
    self.omissions = omissions
  }

  /// The images that were classified wrongly, by falling confidence; equal ones by image.
  package static func mistakes(_ predictions: Predictions) -> [Mistake] {
    predictions.images.indices.filter { predictions.labels[$0] != predictions.predictions[$0] }.map {
      Mistake(
        image: predictions.images[$0], label: predictions.labels[$0], prediction: predictions.predictions[$0],
        confidence: predictions.confidences[$0])
    }.sorted { ($1.confidence, $0.image) < ($0.confidence, $1.image) }
  }

  /// The values of the run's section of the template.
  ///
  /// - Parameters:
  ///   - swatch: The stroke of its line.
  ///   - isOpen: Whether the section is open at first.
  ///   - parts: The chart of the parts of a step.
  /// - Returns: The values.
  func context(swatch: String, isOpen: Bool, parts: [String: Any]?) -> [String: Any] {
    var context: [String: Any] = [
      "swatch": swatch, "name": run.name, "open": isOpen, "run_notes": run.notes, "no_pictures": omissions,
      "facts": facts.map { ["term": $0.0, "value": $0.1] }, "has_sessions": !sessions.isEmpty, "sessions": sessions,
      "has_all_settings": !run.settings.isEmpty,
      "all_settings": run.settings.map { ["name": $0.name, "value": $0.value] },
    ]
    if let parts { context["parts"] = parts }
    if let command { context["command"] = command }
    if let kernels {
      context["kernels"] = [
        "source": kernels,
        "caption": "After step \(run.facts?.step ?? 0). Each kernel is scaled by its largest weight; gray is zero.",
      ]
    }
    if let predictions = run.predictions { context["classification"] = classification(predictions) }
    return context
  }

  private func classification(_ predictions: Predictions) -> [String: Any] {
    let matrix = predictions.confusion
    let weights = predictions.weights == .average ? "averaged weights" : "raw weights"
    var context: [String: Any] = [
      "what":
        "\(NumberText.fixed(Double(matrix.exampleCount), decimals: 0)) test images, \(matrix.correctCount) classified correctly "
        + "(\(RunComparison.percent(Double(matrix.correctCount) / Double(matrix.exampleCount)))), after step "
        + "\(predictions.step), \(weights), \(predictions.statistics) statistics.",
      "has_wrong": !mistakes.isEmpty,
      "wrong": mistakes.map { mistake, address in
        [
          "index": "\(mistake.image)", "source": address, "label": classNames[mistake.label],
          "prediction": classNames[mistake.prediction],
          "confidence": NumberText.fixed(100 * mistake.confidence, decimals: 1) + " %",
        ]
      },
    ]
    var classes = (0..<matrix.classCount).map { ($0, matrix.accuracy(label: $0)) }
    context["class_title"] = "Accuracy per class"
    if let heat {
      context["heat"] = [
        "source": heat, "count": "\(matrix.classCount)",
        "pairs": Self.confusions(matrix).prefix(15).map {
          ["label": classNames[$0.label], "prediction": classNames[$0.prediction], "images": "\($0.count)"]
        },
      ]
      // The hardest ones say most.
      classes = Array(
        classes.filter { $0.1 != nil }.sorted { ($0.1 ?? 0, $0.0) < ($1.1 ?? 0, $1.0) }.prefix(Self.tableClassLimit))
      context["class_title"] = "Classes with the lowest accuracy"
    } else {
      context["matrix"] = ["names": classNames, "body": matrixRows(matrix)]
    }
    context["classes"] = classes.map { label, accuracy in
      [
        "class": classNames[label], "share": NumberText.coordinate(100 * (accuracy ?? 0)) + "%",
        "percent": accuracy.map { NumberText.fixed(100 * $0, decimals: 1) + " %" } ?? "no images",
      ]
    }
    return context
  }

  /// The rows of the confusion matrix as HTML.
  private func matrixRows(_ matrix: ConfusionMatrix) -> String {
    (0..<matrix.classCount).map { label in
      let row = Array(matrix.row(label))
      let total = max(row.reduce(0, +), 1)
      let cells = row.enumerated().map { prediction, count -> String in
        if count == 0 { return "<td>0" }
        let percent = Int((100 * Double(count) / Double(total)).rounded())
        return "<td\(percent > 55 ? " class=hi" : "") style=--h:\(percent)%>\(count)"
      }
      return "<tr><th>\(classNames[label].xmlEscaped)</th>" + cells.joined() + "</tr>"
    }.joined(separator: "\n")
  }

  /// The pairs of label and wrong prediction, most frequent first.
  package static func confusions(_ matrix: ConfusionMatrix) -> [(label: Int, prediction: Int, count: Int)] {
    (0..<matrix.classCount).flatMap { label in
      Array(matrix.row(label)).enumerated().filter { $0.offset != label && $0.element > 0 }
        .map { (label: label, prediction: $0.offset, count: $0.element) }
    }.sorted { ($1.count, $0.label, $0.prediction) < ($0.count, $1.label, $1.prediction) }
  }
}
