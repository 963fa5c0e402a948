import Images
import Testing

/// The crop and the mean over areas, element by element against a straightforward implementation in Double.
@Suite struct AreaResizeTests {
  /// What viewers show of a stored image.
  private static func shown(_ image: RGBImage, _ orientation: ImageOrientation) -> RGBImage {
    // The cases of EXIF's table, each as the stored row and column of a shown pixel.
    let (h, w) = (image.height, image.width)
    let (rows, columns) = orientation.rawValue >= 5 ? (w, h) : (h, w)
    var pixels: [UInt8] = []
    for y in 0..<rows {
      for x in 0..<columns {
        let (row, column) =
          switch orientation {
          case .upright: (y, x)
          case .mirrored: (y, w - 1 - x)
          case .upsideDown: (h - 1 - y, w - 1 - x)
          case .flipped: (h - 1 - y, x)
          case .transposed: (x, y)
          case .quarterTurn: (h - 1 - x, y)
          case .transversed: (h - 1 - x, w - 1 - y)
          case .threeQuarterTurn: (x, w - 1 - y)
          }
        pixels += image.pixels[3 * (row * w + column)..<3 * (row * w + column) + 3]
      }
    }
    return RGBImage(height: rows, width: columns, pixels: pixels)
  }

  /// The overlap of [a, a + 1) with an output pixel's interval.
  private static func overlap(_ input: Int, _ output: Int, _ scale: Double) -> Double {
    max(0, min(Double(input + 1), Double(output + 1) * scale) - max(Double(input), Double(output) * scale))
  }

  /// The means in Double, before rounding.
  private static func reference(_ image: RGBImage, size: Int) -> [Double] {
    let side = min(image.height, image.width)
    let (top, left) = ((image.height - side) / 2, (image.width - side) / 2)
    let scale = Double(side) / Double(size)
    var result: [Double] = []
    for y in 0..<size {
      for x in 0..<size {
        for c in 0..<3 {
          var sum = 0.0
          for row in 0..<side where overlap(row, y, scale) > 0 {
            for column in 0..<side where overlap(column, x, scale) > 0 {
              let value = image.pixels[3 * ((top + row) * image.width + left + column) + c]
              sum += overlap(row, y, scale) * overlap(column, x, scale) * Double(value)
            }
          }
          result.append(sum / (scale * scale))
        }
      }
    }
    return result
  }

  @Test(arguments: [
    (32, 32), (64, 64), (33, 33), (31, 31), (1, 1), (2, 7), (48, 64), (65, 40), (100, 37), (7, 129), (256, 192), (5, 5),
  ])
  func meansAreThoseOfTheReference(height: Int, width: Int) {
    var numbers = TestNumbers(UInt64(height * 1000 + width))
    let image = numbers.image(height: height, width: width)
    for size in [32, 8, 50] {
      let expected = Self.reference(image, size: size)
      let resized = AreaResize.square(image, size: size)
      #expect(resized.height == size && resized.width == size)
      for (i, value) in expected.enumerated() {
        // Rounded to the nearest integer: the error of the Double reference is below 1e-9.
        #expect(abs(Double(resized.pixels[i]) - value) <= 0.5 + 1e-9, "element \(i) of \(size)")
      }
    }
  }

  @Test func halvesAreRoundedUp() {
    let image = RGBImage(height: 2, width: 2, pixels: [0, 1, 2, 1, 1, 2, 0, 2, 3, 1, 2, 3])
    // The means are 0.5, 1.5 and 2.5.
    #expect(AreaResize.square(image, size: 1).pixels == [1, 2, 3])
  }

  @Test func anImageOfTheRightSizeIsUnchanged() {
    var numbers = TestNumbers(1)
    let image = numbers.image(height: 32, width: 32)
    #expect(AreaResize.square(image, size: 32) == image)
  }

  @Test(arguments: ImageOrientation.allCases)
  func orientationIsAppliedBeforeTheCrop(orientation: ImageOrientation) {
    var numbers = TestNumbers(2)
    for (height, width) in [(40, 53), (53, 40), (32, 33), (33, 32), (32, 32), (9, 6)] {
      let image = numbers.image(height: height, width: width)
      #expect(
        AreaResize.square(image, orientation, size: 32)
          == AreaResize.square(Self.shown(image, orientation), size: 32), "\(width)×\(height)")
    }
  }

  @Test func planesAreThoseOfTheRecordFormat() {
    let image = RGBImage(height: 1, width: 2, pixels: [1, 2, 3, 4, 5, 6])
    var planes = [UInt8](repeating: 0, count: 6)
    planes.withUnsafeMutableBufferPointer { if let start = $0.baseAddress { image.copyPlanes(to: start) } }
    #expect(planes == [1, 4, 2, 5, 3, 6])
  }
}
