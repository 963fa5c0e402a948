/// The way from the stored rows and columns of a photograph to those that viewers show.
///
/// The numbers are those of the tag Orientation in EXIF (CIPA DC-008-2019, table 4).
public enum ImageOrientation: Int, Sendable, CaseIterable {
  /// As stored.
  case upright = 1
  /// Mirrored horizontally.
  case mirrored = 2
  /// Rotated by 180°.
  case upsideDown = 3
  /// Mirrored vertically.
  case flipped = 4
  /// Rows are stored as columns.
  case transposed = 5
  /// To be rotated by 90° clockwise.
  case quarterTurn = 6
  /// Rows are stored as columns, both reversed.
  case transversed = 7
  /// To be rotated by 270° clockwise.
  case threeQuarterTurn = 8

  /// Whether a shown row is a stored column.
  public var swapsAxes: Bool { rawValue >= 5 }
  /// Whether stored rows are shown in reverse order.
  public var reversesRows: Bool { [3, 4, 6, 7].contains(rawValue) }
  /// Whether stored columns are shown in reverse order.
  public var reversesColumns: Bool { [2, 3, 7, 8].contains(rawValue) }
}

extension ImageOrientation {
  private static let orientationTag = 0x0112
  /// The type of a 16-bit number in TIFF.
  private static let shortType = 3

  /// Reads the tag Orientation of an EXIF block, which has TIFF's format.
  ///
  /// - Parameter tiff: The block, from its byte order mark on.
  /// - Returns: The orientation; ``upright`` if the block has none or is damaged, as viewers do.
  static func read(tiff: UnsafeRawBufferPointer) -> ImageOrientation {
    guard tiff.count >= 8 else { return .upright }
    let isLittleEndian: Bool
    switch (tiff[0], tiff[1]) {
    case (0x49, 0x49): isLittleEndian = true
    case (0x4D, 0x4D): isLittleEndian = false
    default: return .upright
    }
    func number(at offset: Int, byteCount: Int) -> Int? {
      guard offset >= 0, offset + byteCount <= tiff.count else { return nil }
      return (0..<byteCount).reduce(0) { value, i in
        value << 8 | Int(tiff[offset + (isLittleEndian ? byteCount - 1 - i : i)])
      }
    }
    guard number(at: 2, byteCount: 2) == 42, let directory = number(at: 4, byteCount: 4),
      let count = number(at: directory, byteCount: 2)
    else { return .upright }
    for entry in 0..<count {
      let offset = directory + 2 + 12 * entry
      guard let tag = number(at: offset, byteCount: 2) else { return .upright }
      if tag == orientationTag, number(at: offset + 2, byteCount: 2) == shortType,
        let value = number(at: offset + 8, byteCount: 2)
      {
        return ImageOrientation(rawValue: value) ?? .upright
      }
    }
    return .upright
  }
}
