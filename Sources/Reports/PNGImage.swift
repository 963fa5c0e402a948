import CPNG
import Foundation

/// An RGB image with 8 bits per channel, and its encoding as PNG by libpng.
package struct PNGImage {
  /// The columns.
  package let width: Int
  /// The rows.
  package let height: Int
  /// The pixels, `HWC` with red, green and blue.
  package private(set) var pixels: [UInt8]

  /// Creates a image of one color.
  ///
  /// - Precondition: `width` and `height` are positive.
  package init(width: Int, height: Int, gray: UInt8 = 255) {
    precondition(width > 0 && height > 0, "a image has at least one pixel")
    self.width = width
    self.height = height
    pixels = [UInt8](repeating: gray, count: 3 * width * height)
  }

  /// Creates a image from pixels, `HWC`.
  ///
  /// - Precondition: There are 3·`width`·`height` values.
  package init(width: Int, height: Int, pixels: [UInt8]) {
    precondition(pixels.count == 3 * width * height, "a image has three values per pixel")
    self.width = width
    self.height = height
    self.pixels = pixels
  }

  /// The red, green and blue of a pixel.
  package subscript(row: Int, column: Int) -> (red: UInt8, green: UInt8, blue: UInt8) {
    get {
      let start = 3 * (row * width + column)
      return (pixels[start], pixels[start + 1], pixels[start + 2])
    }
    set {
      let start = 3 * (row * width + column)
      (pixels[start], pixels[start + 1], pixels[start + 2]) = newValue
    }
  }

  /// The image as a PNG file.
  ///
  /// - Throws: ``ReportError`` if libpng fails, for example for want of memory.
  package func png() throws -> Data {
    var image = png_image()
    image.version = png_uint_32(PNG_IMAGE_VERSION)
    image.width = png_uint_32(width)
    image.height = png_uint_32(height)
    image.format = png_uint_32(PNG_FORMAT_FLAG_COLOR)
    defer { png_image_free(&image) }
    // A stored pixel row costs one byte more than its pixels; deflate adds little to what it cannot compress.
    var count = png_alloc_size_t(height * (3 * width + 1) * 11 / 10 + 1024)
    var bytes = [UInt8](repeating: 0, count: count)
    let written = bytes.withUnsafeMutableBytes {
      png_image_write_to_memory(&image, $0.baseAddress, &count, 0, pixels, 0, nil)
    }
    guard written != 0 else {
      let reason = withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      throw ReportError(.internal, "a image cannot be encoded as PNG: \(reason).")
    }
    return Data(bytes.prefix(count))
  }

  /// The image as the address of an `img` element: `data:image/png;base64,…`.
  ///
  /// - Throws: ``ReportError`` if libpng fails.
  package func dataAddress() throws -> String { "data:image/png;base64," + (try png()).base64EncodedString() }
}
