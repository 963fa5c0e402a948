/// A decoder of PNG and JPEG files, which may be hostile.
///
/// libpng and libjpeg-turbo decode; their error handlers never cross Swift code. The declared size is checked before
/// memory is allocated for pixels. A small file may still take the memory of ``maximumPixelCount``.
public enum ImageDecoder {
  /// The most pixels of an image, 2²⁶: 192 MiB of decoded pixels.
  ///
  /// A progressive JPEG needs several times that while it is decoded, and every thread decodes a file.
  public static let maximumPixelCount = 1 << 26
  /// The most bytes of a file, 2²⁸.
  public static let maximumByteCount = 1 << 28

  /// A decoded file.
  public struct Result: Sendable, Hashable {
    /// The pixels as stored.
    public let image: RGBImage
    /// How viewers show them.
    public let orientation: ImageOrientation
  }

  /// The formats, recognized by the first bytes of a file.
  private enum Format {
    case png
    case jpeg
  }

  /// Decodes a file to 8 bits per colour.
  ///
  /// Grey values and palettes become colours. 16-bit values are rounded to 8 bits. Transparent pixels are shown on
  /// white. A PNG with a gamma other than sRGB's is converted to sRGB. CMYK inks are inverted as Adobe's programs store
  /// them, and multiplied: R = C·K/255. Colour profiles are not applied.
  ///
  /// - Parameters:
  ///   - bytes: The whole file.
  ///   - name: The file's name in errors.
  ///   - maximumPixelCount: The most pixels, which is at most ``maximumPixelCount``.
  /// - Returns: The pixels and the EXIF orientation.
  /// - Throws: ``ImageError`` if the file is empty, damaged, too large, or of another format.
  public static func decode(
    _ bytes: UnsafeRawBufferPointer, name: String, maximumPixelCount: Int = maximumPixelCount
  ) throws -> Result {
    switch format(bytes) {
    case .png: try PNGDecoder.decode(bytes, name: name, maximumPixelCount: maximumPixelCount)
    case .jpeg: try JPEGDecoder.decode(bytes, name: name, maximumPixelCount: maximumPixelCount)
    case nil:
      throw ImageError(
        bytes.isEmpty
          ? "\(name) is empty; give a PNG or JPEG file."
          : "\(name) is neither a PNG nor a JPEG file; convert it to one of them.")
    }
  }

  private static func format(_ bytes: UnsafeRawBufferPointer) -> Format? {
    if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
    return bytes.starts(with: [0xFF, 0xD8, 0xFF]) ? .jpeg : nil
  }

  /// Refuses an image by its declared size.
  ///
  /// - Throws: ``ImageError`` if it has no pixels or more than `maximumPixelCount`.
  static func requireSize(height: Int, width: Int, name: String, maximumPixelCount: Int) throws {
    guard height > 0, width > 0 else { throw damaged(name, "it declares no pixels") }
    guard height <= maximumPixelCount / width else {
      throw ImageError(
        "\(name) declares \(width)×\(height) pixels, more than the limit of \(maximumPixelCount); "
          + "reduce its size first.")
    }
  }

  /// The error of a damaged file, with the library's reason.
  static func damaged(_ name: String, _ reason: String) -> ImageError {
    // A reason may quote bytes of the file.
    let text = String(
      reason.unicodeScalars.map { $0.isASCII && $0.value >= 32 && $0.value != 127 ? Character($0) : "?" })
    return ImageError("\(name) is damaged or unsupported (\(text)); get another copy, or convert it to a new PNG.")
  }
}
