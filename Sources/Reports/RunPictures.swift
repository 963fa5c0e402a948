import Datasets
import Foundation
import Images
import Models
import Tensors
import Training

/// The images of a report: kernels of the first layer, and test images.
package enum RunPictures {
  /// The first layer's kernels as one image, with a gray line between them.
  ///
  /// Each kernel's values are mapped to 0 … 255 by its own largest magnitude; 0 is mid-gray. Red, green and blue are the
  /// weights of the input's three channels.
  ///
  /// - Parameter checkpoint: The checkpoint.
  /// - Returns: The image, at one pixel per weight.
  /// - Throws: `CheckpointError` if the weights cannot be read.
  package static func kernels(_ checkpoint: Checkpoint) throws -> RGBImage {
    let model = ModelState(try checkpoint.configuration().graph())
    try checkpoint.loadWeights(into: model)
    guard let weight = model.graph.parameterLayout["stem.weight"], weight.shape.rank == 4 else {
      throw CheckpointError(.bad, "\(checkpoint.path) has no first layer.")
    }
    // RSCK in memory.
    let (rows, columns) = (weight.shape[0], weight.shape[1])
    let (channels, count) = (weight.shape[2], weight.shape[3])
    return kernels(Array(model.parameters[weight]), rows, columns, channels, count)
  }

  /// Draws kernels, `RSCK` with three input channels, eight per row.
  package static func kernels(_ values: [Float], _ rows: Int, _ columns: Int, _ channels: Int, _ count: Int) -> RGBImage
  {
    let perRow = min(count, 8)
    let height = count.dividedRoundingUp(by: perRow) * (rows + 1) + 1
    var image = RGBImage(width: perRow * (columns + 1) + 1, height: height, gray: 128)
    for k in 0..<count {
      func weight(_ r: Int, _ s: Int, _ c: Int) -> Float {
        values[((r * columns + s) * channels + min(c, channels - 1)) * count + k]
      }
      var largest: Float = 0
      for r in 0..<rows {
        for s in 0..<columns { for c in 0..<channels { largest = max(largest, abs(weight(r, s, c))) } }
      }
      func level(_ r: Int, _ s: Int, _ c: Int) -> UInt8 {
        let value = weight(r, s, c)
        guard value.isFinite, largest.isFinite, largest > 0 else { return 128 }
        return UInt8(min(max(128 + 127 * value / largest, 0), 255).rounded())
      }
      for r in 0..<rows {
        for s in 0..<columns {
          image[k / perRow * (rows + 1) + 1 + r, k % perRow * (columns + 1) + 1 + s] = (
            level(r, s, 0), level(r, s, 1), level(r, s, 2)
          )
        }
      }
    }
    return image
  }

  /// A test image.
  ///
  /// - Throws: `DatasetError` if the record is invalid.
  package static func image(_ index: Int, of split: ImageDataset.Split) throws -> RGBImage {
    let size = ImageDataset.imageSize
    let pixels = AlignedBuffer<Float>(count: 3 * size * size)
    _ = try split.readRecord(at: index, pixels: pixels.pointer)
    return RGBImage(height: size, width: size, pixels: pixels.elements.map { UInt8(min(max($0, 0), 255)) })
  }

  /// A confusion matrix as an image: one pixel per cell, darker for a larger share of the label's images.
  package static func confusion(_ matrix: ConfusionMatrix) -> RGBImage {
    var image = RGBImage(width: matrix.classCount, height: matrix.classCount)
    for label in 0..<matrix.classCount {
      let row = Array(matrix.row(label))
      let total = max(row.reduce(0, +), 1)
      for (prediction, count) in row.enumerated() where count > 0 {
        // The square root shows small shares, too.
        let share = (Double(count) / Double(total)).squareRoot()
        image[label, prediction] = (
          UInt8(255 - 255 * share), UInt8(255 - 141 * share), UInt8(255 - 77 * share)
        )
      }
    }
    return image
  }
}

extension RGBImage {
  /// Creates a gray image.
  ///
  /// - Precondition: `width` and `height` are positive.
  package init(width: Int, height: Int, gray: UInt8 = 255) {
    self.init(height: height, width: width, red: gray, green: gray, blue: gray)
  }

  /// The image as the address of an `img` element: `data:image/png;base64,…`.
  ///
  /// - Throws: `ImageError` if libpng fails.
  package func dataAddress() throws -> String {
    "data:image/png;base64," + Data(try PNGEncoder.encode(self)).base64EncodedString()
  }
}
