import CPNG

/// Decodes PNG files with libpng's simplified API.
enum PNGDecoder {
  static func decode(
    _ bytes: UnsafeRawBufferPointer, name: String, maximumPixelCount: Int
  ) throws -> ImageDecoder.Result {
    var image = png_image()
    image.version = png_uint_32(PNG_IMAGE_VERSION)
    // libpng keeps the address from begin_read to finish_read, for its error handler; `&image` is valid for one call.
    let decoded = try withUnsafeMutablePointer(to: &image) { pointer in
      defer { png_image_free(pointer) }
      return try decode(bytes, name: name, maximumPixelCount: maximumPixelCount, using: pointer)
    }
    return ImageDecoder.Result(image: decoded, orientation: orientation(bytes))
  }

  private static func decode(
    _ bytes: UnsafeRawBufferPointer, name: String, maximumPixelCount: Int,
    using image: UnsafeMutablePointer<png_image>
  ) throws -> RGBImage {
    guard png_image_begin_read_from_memory(image, bytes.baseAddress, bytes.count) != 0 else {
      throw ImageDecoder.damaged(name, image.pointee.reason)
    }
    let (height, width) = (Int(image.pointee.height), Int(image.pointee.width))
    try ImageDecoder.requireSize(height: height, width: width, name: name, maximumPixelCount: maximumPixelCount)
    image.pointee.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
    // Without it, 16-bit files would be read as linear, unlike any other program.
    image.pointee.flags |= png_uint_32(PNG_IMAGE_FLAG_16BIT_sRGB)
    var background = png_color(red: 255, green: 255, blue: 255)
    var isComplete = false
    let pixels = [UInt8](unsafeUninitializedCapacity: height * width * 3) { buffer, count in
      // libpng's largest row is shorter than 2³¹ bytes: requireSize has checked the width.
      isComplete = png_image_finish_read(image, &background, buffer.baseAddress, png_int_32(width * 3), nil) != 0
      count = isComplete ? buffer.count : 0
    }
    guard isComplete else { throw ImageDecoder.damaged(name, image.pointee.reason) }
    return RGBImage(height: height, width: width, pixels: pixels)
  }

  /// Reads the orientation from the chunk eXIf, if there is one.
  private static func orientation(_ bytes: UnsafeRawBufferPointer) -> ImageOrientation {
    // After the signature: chunks of length, type, data and CRC.
    var offset = 8
    while offset + 12 <= bytes.count {
      let length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
      let type = bytes[offset + 4..<offset + 8]
      guard length <= bytes.count - offset - 12 else { break }
      if type.elementsEqual("eXIf".utf8) {
        return ImageOrientation.read(tiff: UnsafeRawBufferPointer(rebasing: bytes[offset + 8..<offset + 8 + length]))
      }
      offset += 12 + length
    }
    return .upright
  }
}

extension png_image {
  /// The message of the last error.
  var reason: String {
    withUnsafeBytes(of: message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
