/// Images with captions, arranged in rows, as one image.
public struct ImageGrid {
  /// The rows and columns of each image in the grid.
  public static let imageSize = 128
  /// The characters of a caption line that fit below an image.
  public static let captionLength = imageSize / BitmapFont.size
  /// The most images of a grid, which then has 28 MB of pixels.
  public static let maximumCount = 400

  private static let margin = 8
  private static let lineHeight = BitmapFont.size + 4

  /// An image and what is written below it.
  public struct Cell: Sendable {
    /// A square of ``ImageGrid/imageSize`` pixels.
    let image: RGBImage
    /// The lines below; what exceeds ``ImageGrid/captionLength`` is cut off.
    let caption: [String]

    /// Creates a cell.
    ///
    /// - Precondition: The image has ``ImageGrid/imageSize`` rows and columns.
    public init(image: RGBImage, caption: [String]) {
      precondition(image.height == imageSize && image.width == imageSize, "a cell has a square image")
      self.image = image
      self.caption = caption
    }
  }

  /// Draws cells in the order of reading, on white, in at most ten columns.
  ///
  /// - Parameter cells: At least one cell.
  /// - Returns: The image.
  public static func draw(_ cells: [Cell]) -> RGBImage {
    precondition(!cells.isEmpty, "a grid has at least one cell")
    var columnCount = 1
    while columnCount * columnCount < cells.count && columnCount < 10 { columnCount += 1 }
    let lineCount = cells.map(\.caption.count).max() ?? 0
    let (cellWidth, cellHeight) = (imageSize + margin, imageSize + margin + lineCount * lineHeight)
    let rowCount = (cells.count + columnCount - 1) / columnCount
    var grid = RGBImage(
      height: rowCount * cellHeight + margin, width: columnCount * cellWidth + margin, red: 255, green: 255, blue: 255)
    for (i, cell) in cells.enumerated() {
      let top = margin + i / columnCount * cellHeight
      let left = margin + i % columnCount * cellWidth
      for y in 0..<imageSize {
        let target = 3 * ((top + y) * grid.width + left)
        grid.pixels.replaceSubrange(
          target..<target + 3 * imageSize, with: cell.image.pixels[3 * imageSize * y..<3 * imageSize * (y + 1)])
      }
      for (line, text) in cell.caption.enumerated() {
        BitmapFont.draw(
          String(text.prefix(captionLength)), into: &grid, top: top + imageSize + 4 + line * lineHeight, left: left)
      }
    }
    return grid
  }
}
