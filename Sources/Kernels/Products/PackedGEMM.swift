import CHints

/// How a product of any size is cut into register tiles.
enum PackedGEMM {
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
    _ product: GEMMShape, rows: Int, columns: Int, _ a: UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, panelStrideB: Int, _ c: UnsafeMutablePointer<Float>
  ) {
    let width = panelWidth(columns: columns)
    var cursor = RowSweep(product: product, rows: rows)
    var (panel, target) = (b, c)
    for _ in 0..<columns / width {
      cursor.multiplyPanel(width: width, a, panel, target)
      panel += panelStrideB
      target += width
    }
  }

  /// Computes all rows and columns of a product with one of the matrices of a transformed kernel.
  ///
  /// The kernel is streamed: while a panel is used the next one is fetched. With AVX2 long sums are formed in several goes,
  /// so that a panel stays in the first-level cache while rows pass by. Both together made products of 32 tiles with
  /// kernels of 256 to 640 channels a tenth faster.
  ///
  /// - Parameters:
  ///   - product: The strides, of one segment that starts from zero.
  ///   - rows: The rows of A and C.
  ///   - columns: The columns of B and C, a multiple of 16.
  ///   - a: A.
  ///   - b: B, `[columns/panel, depth, panel]`.
  ///   - c: C.
  static func multiplyPrefetching(
    _ product: GEMMShape, rows: Int, columns: Int, _ a: UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    let width = panelWidth(columns: columns)
    let (depth, panelStride) = (product.depth, product.depth * width)
    var cursor = RowSweep(product: product, rows: rows)
    let length = depthBlock(depth: depth, panelWidth: width)
    for first in stride(from: 0, to: depth, by: length) {
      let range = first..<min(first + length, depth)
      cursor.product.depth = range.count
      cursor.product.accumulates = range.lowerBound > 0
      // After the last panel the next terms' first, or the matrix that follows in memory; a hint harms nobody.
      let following = range.upperBound < depth ? range.upperBound * width : depth * columns
      var (panel, target) = (b + range.lowerBound * width, c)
      for column in stride(from: width, through: columns, by: width) {
        let next = column < columns ? panel + panelStride : b + following
        cursor.prefetch(next, count: range.count * width, width: width)
        cursor.multiplyPanel(width: width, a + range.lowerBound * product.depthStrideA, panel, target)
        panel += panelStride
        target += width
      }
    }
  }

  /// The terms of a sum that are added in one go.
  private static func depthBlock(depth: Int, panelWidth: Int) -> Int {
    // One page, which the CPU's own fetching ahead never crosses: the best of 64, 128, 160 and 320 terms for 16 to 64 rows.
    // Wider panels, of AVX-512, come from the second-level cache anyhow.
    panelWidth == 16 ? 64 : depth
  }
}

/// The way of a panel's columns down the rows of a product.
private struct RowSweep {
  var product: GEMMShape
  let rows: Int
  private var rowsLeft = 0
  private var ahead = UnsafeRawPointer(bitPattern: 64).unsafelyUnwrapped
  private var linesPerTile = 0

  init(product: GEMMShape, rows: Int) {
    self.product = product
    self.rows = rows
  }

  /// Lets the tiles of the panel of `width` columns that comes now fetch `count` floats from `address` on.
  @inline(__always)
  mutating func prefetch(_ address: UnsafePointer<Float>, count: Int, width: Int) {
    ahead = UnsafeRawPointer(address)
    #if WRN_AVX512
      let height = width == 64 ? 6 : width == 32 ? 8 : 16
    #else
      let height = 6
    #endif
    let tiles = (rows + height - 1) / height
    linesPerTile = (count / 16 + tiles - 1) / tiles
  }

  mutating func multiplyPanel(
    width: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    var (a, c) = (a, c)
    rowsLeft = rows
    #if WRN_AVX512
      switch width {
      case 64:
        // Six rows use B best; a few of four make the number come out even.
        run(microkernel4x64, height: 4, atMost: fourRowTileCount, &a, b, &c)
        run(microkernel6x64, height: 6, &a, b, &c)
        run(microkernel4x64, height: 4, &a, b, &c)
        run(microkernel1x64, height: 1, &a, b, &c)
      case 32:
        run(microkernel8x32, height: 8, &a, b, &c)
        run(microkernel1x32, height: 1, &a, b, &c)
      default:
        run(microkernel16x16, height: 16, &a, b, &c)
        if rowsLeft == 9 { run(microkernel9x16, height: 9, &a, b, &c) }
        run(microkernel8x16, height: 8, &a, b, &c)
        run(microkernel4x16, height: 4, &a, b, &c)
        run(microkernel1x16, height: 1, &a, b, &c)
      }
    #else
      run(microkernel4x16, height: 4, atMost: fourRowTileCount, &a, b, &c)
      run(microkernel6x16, height: 6, &a, b, &c)
      run(microkernel4x16, height: 4, &a, b, &c)
      run(microkernel1x16, height: 1, &a, b, &c)
    #endif
  }

  /// How many tiles of four rows leave a multiple of six, if any number does.
  private var fourRowTileCount: Int {
    let rest = rows % 6
    let fours = rest == 0 ? 0 : rest == 2 ? 2 : 1
    return rows.isMultiple(of: 2) && rows >= 4 &* fours ? fours : 0
  }

  @inline(__always)
  private mutating func run(
    _ tile: Microkernel, height: Int, atMost limit: Int = .max, _ a: inout UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, _ c: inout UnsafeMutablePointer<Float>
  ) {
    for _ in 0..<min(rowsLeft / height, limit) {
      for _ in 0..<linesPerTile {
        CHints_prefetchForReading(ahead)
        ahead += 64
      }
      tile(product, a, b, c)
      a += height &* product.rowStrideA
      c += height &* product.rowStrideC
      rowsLeft &-= height
    }
  }
}
