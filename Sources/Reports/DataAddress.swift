import Foundation
import Images

extension RGBImage {
  /// Creates a gray image.
  ///
  /// - Precondition: `width` and `height` are positive.
  package init(width: Int, height: Int, gray: UInt8 = 255) {
    self.init(height: height, width: width, red: gray, green: gray, blue: gray)
  }

  /// The image as the address of an `img` element: `data:image/png;base64,…`.
  ///
  /// - Throws: `ImageError` if libpng fails.
  package func dataAddress() throws -> String {
    "data:image/png;base64," + Data(try PNGEncoder.encode(self)).base64EncodedString()
  }
}
