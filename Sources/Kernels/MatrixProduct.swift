/// How a product of any size is cut into register tiles.
enum MatrixProduct {
  /// The columns of a panel of B for `columns` columns in all, a multiple of 16: as wide as the registers allow.
  static func panelWidth(columns: Int) -> Int {
    #if WRN_AVX512
      columns.isMultiple(of: 64) ? 64 : columns.isMultiple(of: 32) ? 32 : 16
    #else
      16
    #endif
  }

  /// Computes all rows and columns of a product, panel by panel.
  ///
  /// - Parameters:
  ///   - product: The strides; those of B within a panel.
  ///   - rows: The rows of A and C.
  ///   - columns: The columns of B and C, a multiple of 16.
  ///   - a: A.
  ///   - b: B.
  ///   - panelStrideB: From the first element of a panel of B to that of the next.
  ///   - c: C.
  static func multiply(
    _ product: TileProduct, rows: Int, columns: Int, _ a: UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, panelStrideB: Int, _ c: UnsafeMutablePointer<Float>
  ) {
    let width = panelWidth(columns: columns)
    var (panel, target) = (b, c)
    for _ in 0..<columns / width {
      multiplyPanel(product, rows: rows, width: width, a, panel, target)
      panel += panelStrideB
      target += width
    }
  }

  private static func multiplyPanel(
    _ product: TileProduct, rows: Int, width: Int, _ a: UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    var cursor = Cursor(product: product, a: a, b: b, c: c, rows: rows)
    #if WRN_AVX512
      switch width {
      case 64:
        // Six rows use B best; a few of four make the number come out even.
        cursor.run(tile4x64, height: 4, atMost: Cursor.foursBesideSixes(rows))
        cursor.run(tile6x64, height: 6)
        cursor.run(tile4x64, height: 4)
        cursor.run(tile1x64, height: 1)
      case 32:
        cursor.run(tile8x32, height: 8)
        cursor.run(tile1x32, height: 1)
      default:
        cursor.run(tile16x16, height: 16)
        if cursor.rows == 9 { cursor.run(tile9x16, height: 9) }
        cursor.run(tile8x16, height: 8)
        cursor.run(tile4x16, height: 4)
        cursor.run(tile1x16, height: 1)
      }
    #else
      cursor.run(tile4x16, height: 4, atMost: Cursor.foursBesideSixes(rows))
      cursor.run(tile6x16, height: 6)
      cursor.run(tile4x16, height: 4)
      cursor.run(tile1x16, height: 1)
    #endif
  }

  /// What is left of a panel's rows.
  private struct Cursor {
    let product: TileProduct
    var a: UnsafePointer<Float>
    let b: UnsafePointer<Float>
    var c: UnsafeMutablePointer<Float>
    var rows: Int

    /// How many tiles of four rows leave a multiple of six, if any number does.
    static func foursBesideSixes(_ rows: Int) -> Int {
      let rest = rows % 6
      let fours = rest == 0 ? 0 : rest == 2 ? 2 : 1
      return rows.isMultiple(of: 2) && rows >= 4 &* fours ? fours : 0
    }

    @inline(__always)
    mutating func run(_ tile: Tile, height: Int, atMost limit: Int = .max) {
      for _ in 0..<min(rows / height, limit) {
        tile(product, a, b, c)
        a += height &* product.rowStrideA
        c += height &* product.rowStrideC
        rows &-= height
      }
    }
  }
}
