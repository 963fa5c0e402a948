import CPNG

/// Encodes images as PNG files with libpng's simplified API.
public enum PNGEncoder {
  /// Encodes an image with 8 bits per colour; equal images give equal files with one version of libpng.
  ///
  /// - Parameter image: The image, with at least one pixel.
  /// - Returns: The bytes of the file.
  /// - Throws: ``ImageError`` with libpng's reason, for example if memory is exhausted.
  public static func encode(_ image: RGBImage) throws -> [UInt8] {
    var header = png_image()
    header.version = png_uint_32(PNG_IMAGE_VERSION)
    header.width = png_uint_32(image.width)
    header.height = png_uint_32(image.height)
    header.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
    defer { png_image_free(&header) }
    let stride = png_int_32(3 * image.width)
    // More than libpng's PNG_IMAGE_PNG_SIZE_MAX, a macro that Swift does not import.
    var byteCount = image.pixels.count + image.pixels.count / 4 + image.height + 4096
    var isComplete = false
    let bytes = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
      isComplete = image.pixels.withUnsafeBytes { pixels in
        png_image_write_to_memory(&header, buffer.baseAddress, &byteCount, 0, pixels.baseAddress, stride, nil) != 0
      }
      count = isComplete ? byteCount : 0
    }
    guard isComplete else {
      throw ImageError("the PNG file could not be encoded: \(header.reason); make the image smaller.")
    }
    return bytes
  }
}
