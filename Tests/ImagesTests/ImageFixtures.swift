import CTurboJPEG
import CZlib
import Images

/// PNG files of any colour type, written byte by byte, independent of libpng.
struct PNGFixture {
  var width: Int
  var height: Int
  var bitDepth: UInt8 = 8
  /// 0 grey, 2 colour, 3 palette, 4 grey with alpha, 6 colour with alpha.
  var colorType: UInt8 = 2
  /// Chunks between the header and the image.
  var chunks: [(type: String, content: [UInt8])] = []
  /// The rows without filter bytes.
  var rows: [[UInt8]]

  var bytes: [UInt8] {
    var result: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    let header = Self.bigEndian(UInt32(width)) + Self.bigEndian(UInt32(height)) + [bitDepth, colorType, 0, 0, 0]
    let content = Self.compressed(rows.flatMap { [0] + $0 })
    for chunk in [("IHDR", header)] + chunks.map({ ($0.type, $0.content) }) + [("IDAT", content), ("IEND", [])] {
      let tagged = Array(chunk.0.utf8) + chunk.1
      result += Self.bigEndian(UInt32(chunk.1.count)) + tagged
      result += Self.bigEndian(UInt32(truncatingIfNeeded: crc32(0, tagged, UInt32(tagged.count))))
    }
    return result
  }

  static func bigEndian(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

  private static func compressed(_ bytes: [UInt8]) -> [UInt8] {
    var count = compressBound(UInt(bytes.count))
    return [UInt8](unsafeUninitializedCapacity: Int(count)) { buffer, initializedCount in
      guard compress(buffer.baseAddress, &count, bytes, UInt(bytes.count)) == Z_OK else {
        preconditionFailure("zlib failed")
      }
      initializedCount = Int(count)
    }
  }
}

/// JPEG files from libjpeg-turbo's encoder.
enum JPEGFixture {
  /// Encodes values, `[height, width, channels]` with 1 (grey), 3 (colour) or 4 (inverted CMYK) channels.
  static func bytes(_ values: [UInt8], width: Int, height: Int, channels: Int, quality: Int32 = 100) -> [UInt8] {
    let format = [1: TJPF_GRAY, 3: TJPF_RGB, 4: TJPF_CMYK][channels] ?? TJPF_RGB
    guard let handle = tjInitCompress() else { preconditionFailure("no encoder") }
    defer { tjDestroy(handle) }
    var target: UnsafeMutablePointer<UInt8>?
    var count: UInt = 0
    let subsampling = Int32(bitPattern: channels == 1 ? TJSAMP_GRAY.rawValue : TJSAMP_444.rawValue)
    let status = tjCompress2(
      handle, values, Int32(width), 0, Int32(height), format.rawValue, &target, &count, subsampling, quality, 0)
    guard status == 0 else { preconditionFailure("the encoder failed") }
    defer { tjFree(target) }
    return Array(UnsafeBufferPointer(start: target, count: Int(count)))
  }

  /// Inserts a segment after the start marker.
  static func inserting(_ marker: UInt8, _ content: [UInt8], into jpeg: [UInt8]) -> [UInt8] {
    let length = content.count + 2
    return Array(jpeg[..<2]) + [0xFF, marker, UInt8(length >> 8), UInt8(length & 255)] + content + jpeg[2...]
  }
}

/// A reproducible stream of numbers.
struct TestNumbers: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  /// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) } }

  mutating func image(height: Int, width: Int) -> RGBImage {
    RGBImage(height: height, width: width, pixels: bytes(3 * height * width))
  }
}

/// Decodes bytes.
func decode(_ bytes: [UInt8], name: String = "file") throws -> ImageDecoder.Result {
  try bytes.withUnsafeBytes { try ImageDecoder.decode($0, name: name) }
}
