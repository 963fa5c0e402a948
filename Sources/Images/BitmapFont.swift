/// A font of 8×8 pixels per character, for short labels in images.
///
/// The characters are those of Daniel Hepper's font8x8_basic (https://github.com/dhepper/font8x8), in the public domain.
enum BitmapFont {
  /// The rows and columns of a character.
  static let size = 8

  /// Draws a text in black; characters outside of ASCII are shown as `?`.
  ///
  /// - Parameters:
  ///   - text: The text; what does not fit into the image is cut off.
  ///   - image: The image to draw into.
  ///   - top: The first row of the text.
  ///   - left: The first column of the text.
  static func draw(_ text: String, into image: inout RGBImage, top: Int, left: Int) {
    for (i, character) in text.unicodeScalars.enumerated() {
      let code = (32..<127).contains(character.value) ? character.value : 63
      let glyph = glyphs[Int(code) - 32]
      for y in 0..<size {
        for x in 0..<size where glyph >> UInt64(8 * y + x) & 1 == 1 {
          let (row, column) = (top + y, left + size * i + x)
          guard row < image.height, column < image.width else { continue }
          for c in 0..<3 { image.pixels[3 * (row * image.width + column) + c] = 0 }
        }
      }
    }
  }

  /// The characters 32 to 126: byte y is row y, and bit x of it column x.
  private static let glyphs: [UInt64] = [
    0x0000_0000_0000_0000, 0x0018_0018_183C_3C18, 0x0000_0000_0000_3636, 0x0036_367F_367F_3636, 0x000C_1F30_1E03_3E0C,
    0x0063_660C_1833_6300, 0x006E_333B_6E1C_361C, 0x0000_0000_0003_0606, 0x0018_0C06_0606_0C18, 0x0006_0C18_1818_0C06,
    0x0000_663C_FF3C_6600, 0x0000_0C0C_3F0C_0C00, 0x060C_0C00_0000_0000, 0x0000_0000_3F00_0000, 0x000C_0C00_0000_0000,
    0x0001_0306_0C18_3060, 0x003E_676F_7B73_633E, 0x003F_0C0C_0C0C_0E0C, 0x003F_3306_1C30_331E, 0x001E_3330_1C30_331E,
    0x0078_307F_3336_3C38, 0x001E_3330_301F_033F, 0x001E_3333_1F03_061C, 0x000C_0C0C_1830_333F, 0x001E_3333_1E33_331E,
    0x000E_1830_3E33_331E, 0x000C_0C00_000C_0C00, 0x060C_0C00_000C_0C00, 0x0018_0C06_0306_0C18, 0x0000_3F00_003F_0000,
    0x0006_0C18_3018_0C06, 0x000C_000C_1830_331E, 0x001E_037B_7B7B_633E, 0x0033_333F_3333_1E0C, 0x003F_6666_3E66_663F,
    0x003C_6603_0303_663C, 0x001F_3666_6666_361F, 0x007F_4616_1E16_467F, 0x000F_0616_1E16_467F, 0x007C_6673_0303_663C,
    0x0033_3333_3F33_3333, 0x001E_0C0C_0C0C_0C1E, 0x001E_3333_3030_3078, 0x0067_6636_1E36_6667, 0x007F_6646_0606_060F,
    0x0063_636B_7F7F_7763, 0x0063_6373_7B6F_6763, 0x001C_3663_6363_361C, 0x000F_0606_3E66_663F, 0x0038_1E3B_3333_331E,
    0x0067_6636_3E66_663F, 0x001E_3338_0E07_331E, 0x001E_0C0C_0C0C_2D3F, 0x003F_3333_3333_3333, 0x000C_1E33_3333_3333,
    0x0063_777F_6B63_6363, 0x0063_361C_1C36_6363, 0x001E_0C0C_1E33_3333, 0x007F_664C_1831_637F, 0x001E_0606_0606_061E,
    0x0040_6030_180C_0603, 0x001E_1818_1818_181E, 0x0000_0000_6336_1C08, 0xFF00_0000_0000_0000, 0x0000_0000_0018_0C0C,
    0x006E_333E_301E_0000, 0x003B_6666_3E06_0607, 0x001E_3303_331E_0000, 0x006E_3333_3E30_3038, 0x001E_033F_331E_0000,
    0x000F_0606_0F06_361C, 0x1F30_3E33_336E_0000, 0x0067_6666_6E36_0607, 0x001E_0C0C_0C0E_000C, 0x1E33_3330_3030_0030,
    0x0067_361E_3666_0607, 0x001E_0C0C_0C0C_0C0E, 0x0063_6B7F_7F33_0000, 0x0033_3333_331F_0000, 0x001E_3333_331E_0000,
    0x0F06_3E66_663B_0000, 0x7830_3E33_336E_0000, 0x000F_0666_6E3B_0000, 0x001F_301E_033E_0000, 0x0018_2C0C_0C3E_0C08,
    0x006E_3333_3333_0000, 0x000C_1E33_3333_0000, 0x0036_7F7F_6B63_0000, 0x0063_361C_3663_0000, 0x1F30_3E33_3333_0000,
    0x003F_260C_193F_0000, 0x0038_0C0C_070C_0C38, 0x0018_1818_0018_1818, 0x0007_0C0C_380C_0C07, 0x0000_0000_0000_3B6E,
  ]
}
