/// An image with 8 bits per colour, `HWC`: red, green and blue of each pixel, row by row.
public struct RGBImage: Sendable, Hashable {
  /// The rows.
  public let height: Int
  /// The columns.
  public let width: Int
  /// The values, `[height, width, 3]`.
  public var pixels: [UInt8]

  /// Creates an image.
  ///
  /// - Precondition: There are `height`·`width`·3 values.
  public init(height: Int, width: Int, pixels: [UInt8]) {
    precondition(pixels.count == height * width * 3, "an image has three values per pixel")
    self.height = height
    self.width = width
    self.pixels = pixels
  }

  /// Creates an image of one colour.
  public init(height: Int, width: Int, red: UInt8, green: UInt8, blue: UInt8) {
    self.init(
      height: height, width: width,
      pixels: (0..<height * width).flatMap { _ in [red, green, blue] })
  }

  /// The red, green and blue of a pixel.
  public subscript(row: Int, column: Int) -> (red: UInt8, green: UInt8, blue: UInt8) {
    get {
      let start = 3 * (row * width + column)
      return (pixels[start], pixels[start + 1], pixels[start + 2])
    }
    set {
      let start = 3 * (row * width + column)
      (pixels[start], pixels[start + 1], pixels[start + 2]) = newValue
    }
  }

  /// Copies the values to three planes, `CHW`, the layout of CIFAR-10's records.
  ///
  /// - Parameter planes: The destination, 3·`height`·`width` bytes.
  public func copyPlanes(to planes: UnsafeMutablePointer<UInt8>) {
    let count = height * width
    pixels.withUnsafeBufferPointer { pixels in
      for pixel in 0..<count {
        for c in 0..<3 { planes[c * count + pixel] = pixels[3 * pixel + c] }
      }
    }
  }
}

/// An image file that cannot be decoded, or an image that cannot be encoded.
public struct ImageError: Error, CustomStringConvertible, Sendable {
  /// One sentence: the file, the defect, and how to fix it.
  public let description: String

  /// Creates an error from its sentence.
  public init(_ description: String) { self.description = description }
}
