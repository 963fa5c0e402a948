import CTurboJPEG

/// Decodes JPEG files with libjpeg-turbo's TurboJPEG API.
enum JPEGDecoder {
  static func decode(
    _ bytes: UnsafeRawBufferPointer, name: String, maximumPixelCount: Int
  ) throws -> ImageDecoder.Result {
    guard let handle = tjInitDecompress() else { throw ImageDecoder.damaged(name, "no memory for a decoder") }
    defer { tjDestroy(handle) }
    let source = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
    var (width, height, subsampling, colors): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
    guard tjDecompressHeader3(handle, source, UInt(bytes.count), &width, &height, &subsampling, &colors) == 0 else {
      throw ImageDecoder.damaged(name, reason(handle))
    }
    let (rows, columns) = (Int(height), Int(width))
    try ImageDecoder.requireSize(height: rows, width: columns, name: name, maximumPixelCount: maximumPixelCount)
    let isCMYK = [TJCS_CMYK.rawValue, TJCS_YCCK.rawValue].contains(UInt32(bitPattern: colors))
    let valuesPerPixel = isCMYK ? 4 : 3
    var isComplete = false
    let values = [UInt8](unsafeUninitializedCapacity: rows * columns * valuesPerPixel) { buffer, count in
      // A truncated file is a warning for the library, which fills up with grey. Many scans would take minutes.
      isComplete =
        tjDecompress2(
          handle, source, UInt(bytes.count), buffer.baseAddress, width, 0, height,
          isCMYK ? TJPF_CMYK.rawValue : TJPF_RGB.rawValue,
          TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) == 0
      count = isComplete ? buffer.count : 0
    }
    guard isComplete else { throw ImageDecoder.damaged(name, reason(handle)) }
    return ImageDecoder.Result(
      image: RGBImage(height: rows, width: columns, pixels: isCMYK ? colorsOfInks(values) : values),
      orientation: orientation(bytes))
  }

  private static func reason(_ handle: tjhandle) -> String {
    tjGetErrorStr2(handle).map { String(cString: $0) } ?? "unknown error"
  }

  /// Returns red, green and blue of inverted inks, `[pixels, CMYK]`.
  private static func colorsOfInks(_ inks: [UInt8]) -> [UInt8] {
    let count = inks.count / 4
    return [UInt8](unsafeUninitializedCapacity: 3 * count) { colors, initializedCount in
      for pixel in 0..<count {
        let black = Int(inks[4 * pixel + 3])
        for c in 0..<3 { colors[3 * pixel + c] = UInt8((Int(inks[4 * pixel + c]) * black + 127) / 255) }
      }
      initializedCount = 3 * count
    }
  }

  /// Reads the orientation from the EXIF segment, if there is one before the image.
  private static func orientation(_ bytes: UnsafeRawBufferPointer) -> ImageOrientation {
    let application1: UInt8 = 0xE1
    let startOfScan: UInt8 = 0xDA
    let prefix = Array("Exif".utf8) + [0, 0]
    // After the start marker: segments of 0xFF, marker, and a length that counts itself.
    var offset = 2
    while offset + 4 <= bytes.count, bytes[offset] == 0xFF {
      let marker = bytes[offset + 1]
      // Any number of fill bytes may precede a marker.
      if marker == 0xFF {
        offset += 1
        continue
      }
      let length = Int(bytes[offset + 2]) << 8 | Int(bytes[offset + 3])
      let end = offset + 2 + length
      guard marker != startOfScan, length >= 2, end <= bytes.count else { break }
      let content = UnsafeRawBufferPointer(rebasing: bytes[offset + 4..<end])
      if marker == application1, content.starts(with: prefix) {
        return ImageOrientation.read(tiff: UnsafeRawBufferPointer(rebasing: content[prefix.count...]))
      }
      offset = end
    }
    return .upright
  }
}
