import Datasets
import Foundation
import Images
import Reports
import Testing
import Training

/// The images of a report.
@Suite struct RunPicturesTests {
  @Test func addressesHoldTheImage() throws {
    var image = RGBImage(width: 4, height: 3, gray: 9)
    image[2, 1] = (1, 2, 3)
    #expect(image[2, 1] == (1, 2, 3) && image[0, 0] == (9, 9, 9))
    let address = try image.dataAddress()
    let prefix = "data:image/png;base64,"
    #expect(address.hasPrefix(prefix))
    let bytes = try #require(Data(base64Encoded: String(address.dropFirst(prefix.count))))
    #expect(try bytes.withUnsafeBytes { try ImageDecoder.decode($0, name: "address").image } == image)
  }

  /// Every weight of every kernel is at its place, scaled by the kernel's largest magnitude.
  @Test func kernelsAreDrawnWeightByWeight() {
    let (rows, columns, channels, count) = (3, 3, 3, 16)
    let values = (0..<rows * columns * channels * count).map { Float(($0 &* 7919) % 201 - 100) / 37 }
    let image = RunPictures.kernels(values, rows, columns, channels, count)
    #expect(image.width == 8 * 4 + 1 && image.height == 2 * 4 + 1)
    for k in 0..<count {
      let kernel = (0..<27).map { values[$0 * count + k] }
      let largest = kernel.map { abs($0) }.max() ?? 1
      for r in 0..<rows {
        for s in 0..<columns {
          let pixel = image[k / 8 * 4 + 1 + r, k % 8 * 4 + 1 + s]
          for (c, level) in [pixel.red, pixel.green, pixel.blue].enumerated() {
            let expected = 128 + 127 * kernel[(r * columns + s) * 3 + c] / largest
            #expect(abs(Float(level) - expected) <= 0.5)
          }
        }
      }
    }
    // The lines between kernels are gray.
    for i in 0..<image.width { #expect(image[0, i] == (128, 128, 128) && image[4, i] == (128, 128, 128)) }
    #expect(RunPictures.kernels([.nan, .infinity, 0], 1, 1, 3, 1)[1, 1] == (128, 128, 128))
  }

  @Test func testImagesAreTheDataSets() throws {
    let split = try DataSource("synthetic").dataset.test
    for index in [0, 17, split.count - 1] {
      let image = try RunPictures.image(index, of: split)
      try split.withImage(at: index) { _, stored in
        guard case .planes(let planes) = stored else { throw CocoaError(.fileReadUnknown) }
        for row in 0..<32 {
          for column in 0..<32 {
            let pixel = image[row, column]
            for (c, value) in [pixel.red, pixel.green, pixel.blue].enumerated() {
              #expect(value == planes[1024 * c + 32 * row + column])
            }
          }
        }
      }
    }
  }

  @Test func largeConfusionMatricesAreDrawn() {
    var matrix = ConfusionMatrix(classCount: 100)
    for label in 0..<100 {
      for i in 0..<100 { matrix.count(label: label, prediction: i < 64 ? label : (label + 1) % 100) }
    }
    let image = RunPictures.confusion(matrix)
    for label in 0..<100 {
      for prediction in 0..<100 {
        let share: Double = prediction == label ? 0.8 : prediction == (label + 1) % 100 ? 0.6 : 0
        #expect(
          image[label, prediction] == (UInt8(255 - 255 * share), UInt8(255 - 141 * share), UInt8(255 - 77 * share)))
      }
    }
    #expect(RunDetails.confusions(matrix).map(\.count) == [Int](repeating: 36, count: 100))
  }
}
