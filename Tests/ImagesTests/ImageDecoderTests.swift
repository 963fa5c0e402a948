import Foundation
import Images
import Testing

/// Decoding of every kind of PNG and JPEG, against pixels that are known.
@Suite struct ImageDecoderTests {
  private static func rows(_ bytes: [UInt8], count: Int) -> [[UInt8]] {
    let length = bytes.count / count
    return (0..<count).map { Array(bytes[$0 * length..<($0 + 1) * length]) }
  }

  @Test func colorIsExact() throws {
    var numbers = TestNumbers(1)
    let pixels = numbers.bytes(3 * 5 * 7)
    let file = PNGFixture(width: 7, height: 5, rows: Self.rows(pixels, count: 5))
    let result = try decode(file.bytes)
    #expect(result.image == RGBImage(height: 5, width: 7, pixels: pixels))
    #expect(result.orientation == .upright)
  }

  @Test func greyAndPaletteBecomeColors() throws {
    let grey = PNGFixture(width: 3, height: 1, colorType: 0, rows: [[0, 100, 255]])
    #expect(try decode(grey.bytes).image.pixels == [0, 0, 0, 100, 100, 100, 255, 255, 255])
    // Bits 1, 0, 1 of one byte.
    let bits = PNGFixture(width: 3, height: 1, bitDepth: 1, colorType: 0, rows: [[0b1010_0000]])
    #expect(try decode(bits.bytes).image.pixels == [255, 255, 255, 0, 0, 0, 255, 255, 255])
    var palette = PNGFixture(width: 2, height: 1, bitDepth: 4, colorType: 3, rows: [[0x21]])
    palette.chunks = [("PLTE", [9, 9, 9, 10, 20, 30, 40, 50, 60])]
    #expect(try decode(palette.bytes).image.pixels == [40, 50, 60, 10, 20, 30])
  }

  /// 65,535 levels are divided by 257, as for sRGB values.
  @Test func sixteenBitsAreRounded() throws {
    let levels: [UInt16] = [0, 257, 25_700, 25_900, 65_535, 30_000]
    let file = PNGFixture(
      width: 2, height: 1, bitDepth: 16, rows: [levels.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }])
    let pixels = try decode(file.bytes).image.pixels
    for (i, level) in levels.enumerated() {
      #expect(abs(Double(pixels[i]) - Double(level) / 257) <= 0.51, "\(level) became \(pixels[i])")
    }
  }

  /// The value of a colour on white, mixed in linear light with libpng's gamma of 2.2.
  private static func mixedOnWhite(_ value: Double, alpha: Double) -> Double {
    255 * pow(alpha * pow(value / 255, 2.2) + 1 - alpha, 1 / 2.2)
  }

  @Test func transparencyIsShownOnWhite() throws {
    let file = PNGFixture(width: 3, height: 1, colorType: 6, rows: [[10, 20, 30, 255, 10, 20, 30, 0, 10, 20, 30, 128]])
    let pixels = try decode(file.bytes).image.pixels
    #expect(Array(pixels[..<6]) == [10, 20, 30, 255, 255, 255])
    for (c, value) in [10, 20, 30].enumerated() {
      let expected = Self.mixedOnWhite(Double(value), alpha: 128 / 255)
      #expect(abs(Double(pixels[6 + c]) - expected) <= 1, "\(pixels[6 + c]) for \(expected)")
    }
    var palette = PNGFixture(width: 2, height: 1, colorType: 3, rows: [[0, 1]])
    palette.chunks = [("PLTE", [1, 2, 3, 4, 5, 6]), ("tRNS", [0])]
    #expect(try decode(palette.bytes).image.pixels == [255, 255, 255, 4, 5, 6])
    let grey = PNGFixture(width: 2, height: 1, colorType: 4, rows: [[77, 255, 77, 0]])
    #expect(try decode(grey.bytes).image.pixels == [77, 77, 77, 255, 255, 255])
  }

  /// JPEG is lossy: at quality 100 without subsampling a smooth image changes by at most 3 levels.
  @Test func jpegColorsAreThoseOfTheImage() throws {
    let (width, height) = (24, 16)
    var pixels: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width { pixels += [UInt8(8 * x), UInt8(10 * y), UInt8(200 - 5 * x)] }
    }
    let result = try decode(JPEGFixture.bytes(pixels, width: width, height: height, channels: 3))
    #expect(result.image.height == height && result.image.width == width)
    for i in pixels.indices { #expect(abs(Int(result.image.pixels[i]) - Int(pixels[i])) <= 3, "element \(i)") }

    let grey = (0..<height * width).map { UInt8($0 * 255 / (height * width)) }
    let greyResult = try decode(JPEGFixture.bytes(grey, width: width, height: height, channels: 1))
    for i in grey.indices {
      for c in 0..<3 { #expect(abs(Int(greyResult.image.pixels[3 * i + c]) - Int(grey[i])) <= 3) }
    }

    // Inverted inks: cyan 200, magenta 100, yellow 50 with black 128 are the colours 100, 50 and 25.
    let inks = [UInt8]([200, 100, 50, 128]).repeated(height * width)
    let inkResult = try decode(JPEGFixture.bytes(inks, width: width, height: height, channels: 4))
    for i in 0..<height * width {
      for (c, value) in [100, 50, 25].enumerated() {
        #expect(abs(Int(inkResult.image.pixels[3 * i + c]) - value) <= 3)
      }
    }
  }

  @Test(arguments: ImageOrientation.allCases, [true, false])
  func orientationIsRead(orientation: ImageOrientation, isLittleEndian: Bool) throws {
    func number(_ value: Int, _ count: Int) -> [UInt8] {
      let bytes = (0..<count).map { UInt8(value >> (8 * $0) & 255) }
      return isLittleEndian ? bytes : bytes.reversed()
    }
    // Two entries: the maker, an ASCII text, and the orientation.
    let tiff =
      Array((isLittleEndian ? "II" : "MM").utf8) + number(42, 2) + number(8, 4) + number(2, 2)
      + number(0x010F, 2) + number(2, 2) + number(3, 4) + Array("me".utf8) + [0, 0]
      + number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation.rawValue, 2) + [0, 0] + number(0, 4)
    let jpeg = JPEGFixture.bytes([UInt8](repeating: 9, count: 12), width: 2, height: 2, channels: 3)
    let exif = JPEGFixture.inserting(0xE1, Array("Exif".utf8) + [0, 0] + tiff, into: jpeg)
    #expect(try decode(exif).orientation == orientation)
    let later = JPEGFixture.inserting(0xE0, [1, 2, 3], into: exif)
    #expect(try decode(later).orientation == orientation)
    var png = PNGFixture(width: 1, height: 1, rows: [[1, 2, 3]])
    png.chunks = [("tIME", [7, 0xD0, 1, 1, 0, 0, 0]), ("eXIf", tiff)]
    #expect(try decode(png.bytes).orientation == orientation)
    // A truncated block has no orientation, and does not affect the pixels.
    for count in 0..<tiff.count - 6 {
      let cut = JPEGFixture.inserting(0xE1, Array("Exif".utf8) + [0, 0] + tiff[..<count], into: jpeg)
      let result = try decode(cut)
      #expect(result.orientation == .upright || result.orientation == orientation)
      #expect(result.image.pixels.allSatisfy { abs(Int($0) - 9) <= 1 })
    }
  }

  @Test func encodedImagesAreDecodedUnchanged() throws {
    var numbers = TestNumbers(5)
    for (height, width) in [(1, 1), (32, 32), (3, 200), (301, 2)] {
      let image = numbers.image(height: height, width: width)
      #expect(try decode(PNGEncoder.encode(image)).image == image)
    }
  }

  @Test func aGridHasImagesAndCaptions() throws {
    var numbers = TestNumbers(6)
    let images = (0..<3).map { _ in numbers.image(height: ImageGrid.imageSize, width: ImageGrid.imageSize) }
    let grid = ImageGrid.draw(images.map { ImageGrid.Cell(image: $0, caption: ["A", "a caption that is too long"]) })
    // Two columns: 8 pixels of margin, 128 of image; two lines of 12 pixels below an image.
    #expect(grid.width == 2 * 136 + 8 && grid.height == 2 * (136 + 24) + 8)
    for (i, (top, left)) in [(8, 8), (8, 144), (168, 8)].enumerated() {
      for y in 0..<128 {
        let start = 3 * ((top + y) * grid.width + left)
        #expect(Array(grid.pixels[start..<start + 384]) == Array(images[i].pixels[384 * y..<384 * (y + 1)]))
      }
      // The letter A, of which each byte is a row and the lowest bit its first column.
      for (y, bits) in [0x0C, 0x1E, 0x33, 0x33, 0x3F, 0x33, 0x33, 0x00].enumerated() {
        for x in 0..<8 {
          let pixel = grid.pixels[3 * ((top + 132 + y) * grid.width + left + x)]
          #expect(pixel == (bits >> x & 1 == 1 ? 0 : 255))
        }
      }
    }
  }
}

extension [UInt8] {
  fileprivate func repeated(_ count: Int) -> [UInt8] { (0..<count).flatMap { _ in self } }
}
