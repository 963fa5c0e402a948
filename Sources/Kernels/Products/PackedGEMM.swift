import CHints

/// Matrix products of any size, cut into microkernels, with B in packed panels (as in BLIS).
enum PackedGEMM {
  /// Returns the columns per panel of B for `columns` columns in all, a multiple of 16: as wide as the registers allow.
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
  ///   - shape: The strides; those of B within a panel.
  ///   - rows: The rows of A and C.
  ///   - columns: The columns of B and C, a multiple of 16.
  ///   - a: A.
  ///   - b: B.
  ///   - panelStrideB: The floats from the first element of a panel of B to that of the next.
  ///   - c: C.
  static func multiply(
    _ shape: GEMMShape, rows: Int, columns: Int, _ a: UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, panelStrideB: Int, _ c: UnsafeMutablePointer<Float>
  ) {
    let width = panelWidth(columns: columns)
    var sweep = RowSweep(shape: shape, rows: rows)
    var (panel, target) = (b, c)
    for _ in 0..<columns / width {
      sweep.multiplyPanel(width: width, a, panel, target)
      panel += panelStrideB
      target += width
    }
  }

  /// Computes all rows and columns of a product with one of the matrices of a transformed weight.
  ///
  /// The weight is streamed: while a panel is used, the next one is prefetched. With AVX2, sums are formed in depth
  /// blocks, so that a panel stays in the L1 cache while rows pass by. Both together made products of 32 tiles with
  /// weights of 256 to 640 channels a tenth faster.
  ///
  /// - Parameters:
  ///   - shape: The strides, with an outer depth of 1 and without accumulation.
  ///   - rows: The rows of A and C.
  ///   - columns: The columns of B and C, a multiple of 16.
  ///   - a: A.
  ///   - b: B, `[columns/panel, depth, panel]`.
  ///   - c: C.
  static func multiplyPrefetching(
    _ shape: GEMMShape, rows: Int, columns: Int, _ a: UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    let width = panelWidth(columns: columns)
    let (depth, panelStride) = (shape.depth, shape.depth * width)
    var sweep = RowSweep(shape: shape, rows: rows)
    let length = depthBlock(depth: depth, panelWidth: width)
    for first in stride(from: 0, to: depth, by: length) {
      let range = first..<min(first + length, depth)
      sweep.shape.depth = range.count
      sweep.shape.accumulates = range.lowerBound > 0
      // After the last panel comes the next depth block, or the matrix that follows in memory; a prefetch never faults.
      let following =
        range.upperBound < depth
        ? range.upperBound * width : PackedWeightLayout(rows: depth, columns: columns).matrixStride
      var (panel, target) = (b + range.lowerBound * width, c)
      for column in stride(from: width, through: columns, by: width) {
        let next = column < columns ? panel + panelStride : b + following
        sweep.prefetch(next, count: range.count * width, width: width)
        sweep.multiplyPanel(width: width, a + range.lowerBound * shape.depthStrideA, panel, target)
        panel += panelStride
        target += width
      }
    }
  }

  /// Returns kc, the extent of k per depth block.
  private static func depthBlock(depth: Int, panelWidth: Int) -> Int {
    // 64 floats of 16 columns are one page, which the hardware prefetcher never crosses. They were the fastest of 64, 128,
    // 160 and 320 for 16 to 64 rows. The wider panels of AVX-512 come from the L2 cache in any case.
    panelWidth == 16 ? 64 : depth
  }
}

/// The layout of the matrices of a transformed weight, `[matrices, columns/panel, rows, panel]`.
struct PackedWeightLayout {
  let rows: Int
  let columns: Int
  /// The columns per panel.
  let panel: Int

  /// Creates the layout of matrices of `rows` rows and `columns` columns, a multiple of 16.
  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    panel = PackedGEMM.panelWidth(columns: columns)
  }

  /// The floats from one matrix to the next, no power of two: transforms write a vector of every matrix.
  var matrixStride: Int { TileBlock.positionStride(rows: rows, columns: columns) }
  /// The floats from one panel to the next.
  var panelStride: Int { rows * panel }

  /// Returns the index of an element within its matrix.
  func offset(row: Int, column: Int) -> Int {
    (column / panel) * panelStride + row * panel + column % panel
  }
}

/// The sweep of microkernels down the rows of a product, one panel of columns at a time.
private struct RowSweep {
  var shape: GEMMShape
  let rows: Int
  private var rowsLeft = 0
  private var prefetchAddress = UnsafeRawPointer(bitPattern: 64).unsafelyUnwrapped
  private var prefetchedLinesPerCall = 0

  init(shape: GEMMShape, rows: Int) {
    self.shape = shape
    self.rows = rows
  }

  /// Lets the microkernels of the next panel, of `width` columns, prefetch `count` floats from `address` on.
  @inline(__always)
  mutating func prefetch(_ address: UnsafePointer<Float>, count: Int, width: Int) {
    prefetchAddress = UnsafeRawPointer(address)
    #if WRN_AVX512
      let height = width == 64 ? 6 : width == 32 ? 8 : 16
    #else
      let height = 6
    #endif
    let calls = (rows + height - 1) / height
    prefetchedLinesPerCall = (count / 16 + calls - 1) / calls
  }

  /// Computes the columns of one panel.
  mutating func multiplyPanel(
    width: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>
  ) {
    var (a, c) = (a, c)
    rowsLeft = rows
    #if WRN_AVX512
      switch width {
      case 64:
        // Six rows reuse B best; calls of four make the number of rows come out even.
        sweep(microkernel4x64, height: 4, atMost: fourRowTileCount, &a, b, &c)
        sweep(microkernel6x64, height: 6, &a, b, &c)
        sweep(microkernel4x64, height: 4, &a, b, &c)
        sweep(microkernel1x64, height: 1, &a, b, &c)
      case 32:
        sweep(microkernel8x32, height: 8, &a, b, &c)
        sweep(microkernel1x32, height: 1, &a, b, &c)
      default:
        sweep(microkernel16x16, height: 16, &a, b, &c)
        if rowsLeft == 9 { sweep(microkernel9x16, height: 9, &a, b, &c) }
        sweep(microkernel8x16, height: 8, &a, b, &c)
        sweep(microkernel4x16, height: 4, &a, b, &c)
        sweep(microkernel1x16, height: 1, &a, b, &c)
      }
    #else
      // The weight gradient of the stem: nine rows per row of taps. One row at a time uses a quarter of the FMA units, so
      // that the last three rows took as long as the first six.
      if rows == 9 { sweep(microkernel5x16, height: 5, &a, b, &c) }
      sweep(microkernel4x16, height: 4, atMost: fourRowTileCount, &a, b, &c)
      sweep(microkernel6x16, height: 6, &a, b, &c)
      sweep(microkernel4x16, height: 4, &a, b, &c)
      sweep(microkernel1x16, height: 1, &a, b, &c)
    #endif
  }

  /// The calls of four rows that leave a multiple of six, 0 if no number does.
  private var fourRowTileCount: Int {
    let rest = rows % 6
    let fours = rest == 0 ? 0 : rest == 2 ? 2 : 1
    return rows.isMultiple(of: 2) && rows >= 4 &* fours ? fours : 0
  }

  @inline(__always)
  private mutating func sweep(
    _ microkernel: Microkernel, height: Int, atMost limit: Int = .max, _ a: inout UnsafePointer<Float>,
    _ b: UnsafePointer<Float>, _ c: inout UnsafeMutablePointer<Float>
  ) {
    for _ in 0..<min(rowsLeft / height, limit) {
      for _ in 0..<prefetchedLinesPerCall {
        CHints_prefetchForReading(prefetchAddress)
        prefetchAddress += 64
      }
      microkernel(shape, a, b, c)
      a += height &* shape.rowStrideA
      c += height &* shape.rowStrideC
      rowsLeft &-= height
    }
  }
}
