import Foundation
import Images
import Support
import Training

/// The output of `wrn-dist predict`: one line per image on standard output, errors on standard error, and a grid.
struct PredictionReport {
  /// The formats of standard output.
  enum Format {
    case text
    case json
    case csv
  }

  private let format: Format
  private let classNames: [String]
  private let top: Int
  private let drawsGrid: Bool
  private var cells: [ImageGrid.Cell] = []

  /// Creates a report of the `top` classes per image.
  init(format: Format, classNames: [String], top: Int, drawsGrid: Bool) {
    self.format = format
    self.classNames = classNames
    self.top = top
    self.drawsGrid = drawsGrid
  }

  /// Whether the grid needs more images.
  var wantsThumbnails: Bool { drawsGrid && cells.count < ImageGrid.maximumCount }

  /// The images with their classes; `nil` if there are none.
  var grid: RGBImage? { cells.isEmpty ? nil : ImageGrid.draw(cells) }

  /// Prints what precedes the images.
  func begin(_ model: String) {
    switch format {
    case .text: print(model)
    case .json: break
    case .csv: print((["file"] + (1...top).flatMap { ["class_\($0)", "probability_\($0)"] }).joined(separator: ","))
    }
  }

  /// Prints the classes of an image.
  ///
  /// - Throws: `EncodingError` if JSON lacks a value.
  mutating func add(_ image: ImageBatch.Image, _ ranked: RankedClasses) throws {
    let classes = ranked.order.prefix(top).map { (label: $0, probability: ranked.probabilities[$0]) }
    switch format {
    case .text:
      let list = classes.map { "\(classNames[$0.label]) \(Self.percent($0.probability))" }.joined(separator: ", ")
      print("\(image.name.printable): \(list)")
    case .json:
      let predictions = classes.map {
        Line.Prediction(className: classNames[$0.label], label: $0.label, probability: $0.probability)
      }
      print(try JSONLine.render(Line(file: image.name, predictions: predictions)))
    case .csv:
      let fields = classes.flatMap { [classNames[$0.label], String(format: "%.6f", $0.probability)] }
      print(([image.name] + fields).map(QuotedText.csv).joined(separator: ","))
    }
    if wantsThumbnails, let thumbnail = image.thumbnail, let best = classes.first {
      let name = (image.name as NSString).lastPathComponent.printable
      cells.append(
        ImageGrid.Cell(
          image: thumbnail, caption: [name, classNames[best.label].printable, Self.percent(best.probability)]))
    }
  }

  /// Reports an image that cannot be classified.
  ///
  /// - Throws: `EncodingError` if JSON lacks a value.
  func add(_ failure: ImageBatch.Failure) throws {
    StandardError.write("wrn-dist: error: \(failure.message.printable)")
    if format == .json, let name = failure.name {
      print(try JSONLine.render(Line(file: name, error: failure.message)))
    }
  }

  private static func percent(_ share: Double) -> String { String(format: "%.2f %%", 100 * share) }

  /// The JSON object of an image.
  private struct Line: Encodable {
    struct Prediction: Encodable {
      let className: String
      let label: Int
      let probability: Double
      enum CodingKeys: String, CodingKey {
        case className = "class"
        case label
        case probability
      }
    }
    let file: String
    var predictions: [Prediction]?
    var error: String?
  }
}

extension String {
  /// The text with control characters, which could change a terminal, replaced.
  fileprivate var printable: String {
    String(
      String.UnicodeScalarView(
        unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : $0 }))
  }
}
