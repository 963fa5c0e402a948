import Tensors

// The two-dimensional transforms for stride 2, in the order of positions that ``Polyphase`` documents.

extension Polyphase {
  /// The first position of each family but 5×5.
  private enum Family {
    static var evenOdd: Int { 25 }
    static var oddEven: Int { 45 }
    static var oddOdd: Int { 65 }
  }

  /// V: every tile's 9×9 input pixels by phase.
  @inline(never)
  static func transformInput(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) {
    let (row, pixel) = (image.rowStride, image.pixelStride)
    let stride = TileBlock.positionStride(rows: block.tiles, columns: pixel)
    TileLoops.forEachWindow(block, image, step: 8, into: target) { x, v in inputTile(x, row, pixel, v, stride) }
  }

  /// V of one tile and 16 channels.
  ///
  /// Out of line: inlined, the loops take registers from the transform, which slowed forward passes by up to 3 %.
  @inline(never)
  private static func inputTile(
    _ x: UnsafePointer<Float>, _ row: Int, _ pixel: Int, _ v: UnsafeMutablePointer<Float>, _ stride: Int
  ) {
    @inline(__always) func even(_ j: Int) -> Vectors5 {
      let x = x + j &* pixel
      return inputTransform(
        x.vector, (x + 2 &* row).vector, (x + 4 &* row).vector, (x + 6 &* row).vector,
        (x + 8 &* row).vector)
    }
    storeEvenEven(even(0), even(2), even(4), even(6), even(8), v, stride)
    for c in 0..<4 { storeColumn(even(2 &* c &+ 1), v + (Family.evenOdd &+ c) &* stride, 4 &* stride) }
    for r in 0..<4 {
      let x = x + (2 &* r &+ 1) &* row
      let f = inputTransform(
        x.vector, (x + 2 &* pixel).vector, (x + 4 &* pixel).vector, (x + 6 &* pixel).vector,
        (x + 8 &* pixel).vector)
      storeColumn(f, v + (Family.oddEven &+ r) &* stride, 4 &* stride)
      for c in 0..<4 {
        (v + (Family.oddOdd &+ 4 &* r &+ c) &* stride).store((x + (2 &* c &+ 1) &* pixel).vector)
      }
    }
  }

  /// E: every tile's window of 5×5 output gradients.
  @inline(never)
  static func transformOutputGradientWindow(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) {
    let channels = image.pixelStride
    let stride = TileBlock.positionStride(rows: block.tiles, columns: channels)
    // The offset, within the window, of the 4×4 gradients that the single tap multiplies.
    let offset = image.before
    TileLoops.forEachWindow(block, image, step: 4, into: target) { y, e in
      let (row, pixel) = (image.rowStride, channels)
      @inline(__always) func column(_ j: Int) -> Vectors5 {
        let y = y + j &* pixel
        return inputTransform(
          y.vector, (y + row).vector, (y + 2 &* row).vector, (y + 3 &* row).vector,
          (y + 4 &* row).vector)
      }
      storeEvenEven(column(0), column(1), column(2), column(3), column(4), e, stride)
      for c in 0..<4 { storeColumn(column(c &+ offset), e + (Family.evenOdd &+ c) &* stride, 4 &* stride) }
      for r in 0..<4 {
        let y = y + (r &+ offset) &* row
        let f = inputTransform(
          y.vector, (y + pixel).vector, (y + 2 &* pixel).vector, (y + 3 &* pixel).vector,
          (y + 4 &* pixel).vector)
        storeColumn(f, e + (Family.oddEven &+ r) &* stride, 4 &* stride)
        for c in 0..<4 {
          (e + (Family.oddOdd &+ 4 &* r &+ c) &* stride).store((y + (c &+ offset) &* pixel).vector)
        }
      }
    }
  }

  /// D: every tile's 4×4 output gradients.
  @inline(never)
  static func transformOutputGradient(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) {
    let channels = image.pixelStride
    let stride = TileBlock.positionStride(rows: block.tiles, columns: channels)
    let inside = image.before &* (image.rowStride &+ channels)
    TileLoops.forEachWindow(block, image, step: 4, into: target) { y, d in
      let (row, pixel) = (image.rowStride, channels)
      let y = y + inside
      @inline(__always) func column(_ j: Int) -> Vectors5 {
        let y = y + j &* pixel
        return outputGradientTransform(
          y.vector, (y + row).vector, (y + 2 &* row).vector, (y + 3 &* row).vector)
      }
      let (a, b, c, e) = (column(0), column(1), column(2), column(3))
      @inline(__always) func store(_ i: Int, _ f: Vectors5) { storeColumn(f, d + 5 &* i &* stride, stride) }
      store(0, outputGradientTransform(a.0, b.0, c.0, e.0))
      store(1, outputGradientTransform(a.1, b.1, c.1, e.1))
      store(2, outputGradientTransform(a.2, b.2, c.2, e.2))
      store(3, outputGradientTransform(a.3, b.3, c.3, e.3))
      store(4, outputGradientTransform(a.4, b.4, c.4, e.4))
      let evenOdd = d + Family.evenOdd &* stride
      storeColumn(a, evenOdd, 4 &* stride)
      storeColumn(b, evenOdd + stride, 4 &* stride)
      storeColumn(c, evenOdd + 2 &* stride, 4 &* stride)
      storeColumn(e, evenOdd + 3 &* stride, 4 &* stride)
      for r in 0..<4 {
        let y = y + r &* row
        let p = (y.vector, (y + pixel).vector, (y + 2 &* pixel).vector, (y + 3 &* pixel).vector)
        storeColumn(
          outputGradientTransform(p.0, p.1, p.2, p.3), d + (Family.oddEven &+ r) &* stride, 4 &* stride)
        storeRow(p, d + (Family.oddOdd &+ 4 &* r) &* stride, stride)
      }
    }
  }

  @inline(never)
  static func transformOutput(
    _ block: TileBlock, _ source: UnsafePointer<Float>, channels: Int,
    into target: UnsafeMutablePointer<Float>
  ) {
    let stride = TileBlock.positionStride(rows: block.tiles, columns: channels)
    let rowStride = 4 &* block.tileColumns &* channels
    TileLoops.forEachOutput(block, source, channels: channels, step: 4, into: target) { m, y in
      // Even rows: first the columns are transformed, then both families together along the rows.
      @inline(__always) func evenRow(_ i: Int) -> Vectors4 {
        let f = horizontal(m + 5 &* i &* stride, stride)
        let other = m + (Family.evenOdd &+ 4 &* i) &* stride
        return (
          f.0 + other.vector, f.1 + (other + stride).vector, f.2 + (other + 2 &* stride).vector,
          f.3 + (other + 3 &* stride).vector
        )
      }
      @inline(__always) func store(_ r: Int, _ f: Vectors4) {
        let odd = horizontal(m + (Family.oddEven &+ r) &* stride, 4 &* stride)
        let other = m + (Family.oddOdd &+ 4 &* r) &* stride
        storeRow(
          (
            f.0 + (odd.0 + other.vector), f.1 + (odd.1 + (other + stride).vector),
            f.2 + (odd.2 + (other + 2 &* stride).vector), f.3 + (odd.3 + (other + 3 &* stride).vector)
          ), y + r &* rowStride, channels)
      }
      let (a, b, c, d, e) = (evenRow(0), evenRow(1), evenRow(2), evenRow(3), evenRow(4))
      let columns = (
        outputTransform(a.0, b.0, c.0, d.0, e.0), outputTransform(a.1, b.1, c.1, d.1, e.1),
        outputTransform(a.2, b.2, c.2, d.2, e.2), outputTransform(a.3, b.3, c.3, d.3, e.3)
      )
      store(0, (columns.0.0, columns.1.0, columns.2.0, columns.3.0))
      store(1, (columns.0.1, columns.1.1, columns.2.1, columns.3.1))
      store(2, (columns.0.2, columns.1.2, columns.2.2, columns.3.2))
      store(3, (columns.0.3, columns.1.3, columns.2.3, columns.3.3))
    }
  }

  /// dZ: the families are separate here.
  ///
  /// The rows and columns that two taps reach are, modulo 2, the padding before.
  @inline(never)
  static func transformInputGradient(
    _ block: TileBlock, _ source: UnsafePointer<Float>, channels: Int, _ g: ConvolutionGeometry,
    into target: UnsafeMutablePointer<Float>
  ) {
    let stride = TileBlock.positionStride(rows: block.tiles, columns: channels)
    let rowStride = 8 &* block.tileColumns &* channels
    let pixel = 2 &* channels
    let (even, odd) = (g.paddingBefore, 1 &- g.paddingBefore)
    TileLoops.forEachOutput(block, source, channels: channels, step: 8, into: target) { m, z in
      let evenRows = z + even &* rowStride
      let oddRows = z + odd &* rowStride
      let (a, b, c, d, e) = (
        horizontal(m, stride), horizontal(m + 5 &* stride, stride), horizontal(m + 10 &* stride, stride),
        horizontal(m + 15 &* stride, stride), horizontal(m + 20 &* stride, stride)
      )
      @inline(__always) func storeVertically(_ f: Vectors4, _ z: UnsafeMutablePointer<Float>) {
        storeRow(f, z, 2 &* rowStride)
      }
      let evenEven = evenRows + even &* channels
      storeVertically(outputTransform(a.0, b.0, c.0, d.0, e.0), evenEven)
      storeVertically(outputTransform(a.1, b.1, c.1, d.1, e.1), evenEven + pixel)
      storeVertically(outputTransform(a.2, b.2, c.2, d.2, e.2), evenEven + 2 &* pixel)
      storeVertically(outputTransform(a.3, b.3, c.3, d.3, e.3), evenEven + 3 &* pixel)
      for c in 0..<4 {
        let f = horizontal(m + (Family.evenOdd &+ c) &* stride, 4 &* stride)
        storeVertically(f, evenRows + odd &* channels + c &* pixel)
      }
      for r in 0..<4 {
        let z = oddRows + 2 &* r &* rowStride
        storeRow(
          horizontal(m + (Family.oddEven &+ r) &* stride, 4 &* stride), z + even &* channels, pixel)
        let other = m + (Family.oddOdd &+ 4 &* r) &* stride
        storeRow(
          (
            other.vector, (other + stride).vector, (other + 2 &* stride).vector,
            (other + 3 &* stride).vector
          ), z + odd &* channels, pixel)
      }
    }
  }

  /// Aᵀ of five vectors at a stride.
  @inline(__always)
  private static func horizontal(_ m: UnsafePointer<Float>, _ stride: Int) -> Vectors4 {
    outputTransform(
      m.vector, (m + stride).vector, (m + 2 &* stride).vector, (m + 3 &* stride).vector,
      (m + 4 &* stride).vector)
  }

  /// Transforms five columns of the 5×5 family, each transformed along the rows before, along the columns; stores them.
  @inline(__always)
  private static func storeEvenEven(
    _ a: Vectors5, _ b: Vectors5, _ c: Vectors5, _ d: Vectors5, _ e: Vectors5, _ v: UnsafeMutablePointer<Float>,
    _ stride: Int
  ) {
    storeColumn(inputTransform(a.0, b.0, c.0, d.0, e.0), v, stride)
    storeColumn(inputTransform(a.1, b.1, c.1, d.1, e.1), v + 5 &* stride, stride)
    storeColumn(inputTransform(a.2, b.2, c.2, d.2, e.2), v + 10 &* stride, stride)
    storeColumn(inputTransform(a.3, b.3, c.3, d.3, e.3), v + 15 &* stride, stride)
    storeColumn(inputTransform(a.4, b.4, c.4, d.4, e.4), v + 20 &* stride, stride)
  }

  @inline(__always)
  private static func storeColumn(_ f: Vectors5, _ target: UnsafeMutablePointer<Float>, _ stride: Int) {
    target.store(f.0)
    (target + stride).store(f.1)
    (target + 2 &* stride).store(f.2)
    (target + 3 &* stride).store(f.3)
    (target + 4 &* stride).store(f.4)
  }

  @inline(__always)
  private static func storeRow(_ f: Vectors4, _ target: UnsafeMutablePointer<Float>, _ stride: Int) {
    target.store(f.0)
    (target + stride).store(f.1)
    (target + 2 &* stride).store(f.2)
    (target + 3 &* stride).store(f.3)
  }

  static func transformWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) {
    TileLoops.forEachWeightVector(g, channel: channel, weight, into: target) {
      weightVector($0, tapStride: $1, $2, matrixStride: $3)
    }
  }

  static func transformFlippedWeight(
    _ g: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
    into target: UnsafeMutablePointer<Float>
  ) {
    TileLoops.forEachFlippedWeightVector(g, channel: channel, weight, into: target) {
      weightVector($0, tapStride: $1, $2, matrixStride: $3)
    }
  }

  static func inverseTransformWeightGradient(
    _ source: UnsafePointer<Float>, _ block: WeightGradientBlock,
    into weightGradient: (target: UnsafeMutablePointer<Float>, isAdded: Bool), _ g: ConvolutionGeometry
  ) {
    TileLoops.forEachWeightGradientVector(source, block, into: weightGradient.target, g) {
      weightGradientVector($0, matrixStride: $1, $2, tapStride: $3, isAdded: weightGradient.isAdded)
    }
  }

  @inline(__always)
  private static func weightVector(
    _ w: UnsafePointer<Float>, tapStride: Int, _ u: UnsafeMutablePointer<Float>, matrixStride stride: Int
  ) {
    @inline(__always) func tap(_ r: Int, _ s: Int) -> Vector { (w + (3 &* r &+ s) &* tapStride).vector }
    @inline(__always) func store(_ f: Vectors5, _ first: Int, _ step: Int) {
      let u = u + first &* stride
      let stride = step &* stride
      u.store(f.0)
      (u + stride).store(f.1)
      (u + 2 &* stride).store(f.2)
      (u + 3 &* stride).store(f.3)
      (u + 4 &* stride).store(f.4)
    }
    let (left, right) = (weightTransform(tap(0, 0), tap(2, 0)), weightTransform(tap(0, 2), tap(2, 2)))
    store(weightTransform(left.0, right.0), 0, 1)
    store(weightTransform(left.1, right.1), 5, 1)
    store(weightTransform(left.2, right.2), 10, 1)
    store(weightTransform(left.3, right.3), 15, 1)
    store(weightTransform(left.4, right.4), 20, 1)
    store(weightTransform(tap(0, 1), tap(2, 1)), 25, 1)
    store(weightTransform(tap(1, 0), tap(1, 2)), 30, 1)
    (u + 35 &* stride).store(tap(1, 1))
  }

  @inline(__always)
  private static func weightGradientVector(
    _ u: UnsafePointer<Float>, matrixStride stride: Int, _ w: UnsafeMutablePointer<Float>, tapStride: Int,
    isAdded: Bool
  ) {
    @inline(__always) func inverse(_ first: Int) -> Vectors2 {
      let u = u + first &* stride
      return weightGradientTransform(
        u.vector, (u + stride).vector, (u + 2 &* stride).vector, (u + 3 &* stride).vector,
        (u + 4 &* stride).vector)
    }
    @inline(__always) func store(_ r: Int, _ s: Int, _ value: Vector) {
      (w + (3 &* r &+ s) &* tapStride).store(value, isAdded: isAdded)
    }
    let (a, b, c, d, e) = (inverse(0), inverse(5), inverse(10), inverse(15), inverse(20))
    let left = weightGradientTransform(a.0, b.0, c.0, d.0, e.0)
    let right = weightGradientTransform(a.1, b.1, c.1, d.1, e.1)
    let (middle, row) = (inverse(25), inverse(30))
    store(0, 0, left.0)
    store(2, 0, left.1)
    store(0, 2, right.0)
    store(2, 2, right.1)
    store(0, 1, middle.0)
    store(2, 1, middle.1)
    store(1, 0, row.0)
    store(1, 2, row.1)
    store(1, 1, (u + 35 &* stride).vector)
  }
}
