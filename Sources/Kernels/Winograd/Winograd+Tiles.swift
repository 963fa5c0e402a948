import Tensors

// The two-dimensional transforms. The values between the two directions of a transform are named, not in an array: an array
// would be cleared first, which cost 5 % of a step.

extension Winograd {
  /// Stores six positions and advances to the next.
  @inline(__always)
  private static func store(_ f: TileVectors6, _ target: inout UnsafeMutablePointer<Float>, _ positionStride: Int) {
    f.0.store(&target, step: positionStride)
    f.1.store(&target, step: positionStride)
    f.2.store(&target, step: positionStride)
    f.3.store(&target, step: positionStride)
    f.4.store(&target, step: positionStride)
    f.5.store(&target, step: positionStride)
  }

  /// V = BᵀzB.
  @inline(never)
  static func transformInput(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) {
    let positionStride = TileBlock.positionStride(rows: block.tiles, columns: image.pixelStride)
    let (rowStride, pixelStride) = (image.rowStride, image.pixelStride)
    TileLoops.forEachWindow(lanes: TileVector.channelCount, block, image, step: 4, into: target) { x, v in
      var (x, v) = (x, v)
      @inline(__always) func column() -> TileVectors6 {
        var row = x
        x += pixelStride
        return inputTransform(
          TileVector(&row, step: rowStride), TileVector(&row, step: rowStride), TileVector(&row, step: rowStride),
          TileVector(&row, step: rowStride), TileVector(&row, step: rowStride), TileVector(&row, step: rowStride))
      }
      let (a, b, c, d, e, f) = (column(), column(), column(), column(), column(), column())
      store(inputTransform(a.0, b.0, c.0, d.0, e.0, f.0), &v, positionStride)
      store(inputTransform(a.1, b.1, c.1, d.1, e.1, f.1), &v, positionStride)
      store(inputTransform(a.2, b.2, c.2, d.2, e.2, f.2), &v, positionStride)
      store(inputTransform(a.3, b.3, c.3, d.3, e.3, f.3), &v, positionStride)
      store(inputTransform(a.4, b.4, c.4, d.4, e.4, f.4), &v, positionStride)
      store(inputTransform(a.5, b.5, c.5, d.5, e.5, f.5), &v, positionStride)
    }
  }

  /// D = A dY Aᵀ, from the inside of the padded images.
  @inline(never)
  static func transformOutputGradient(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) {
    let positionStride = TileBlock.positionStride(rows: block.tiles, columns: image.pixelStride)
    let (rowStride, pixelStride) = (image.rowStride, image.pixelStride)
    let inside = image.before &* (rowStride &+ pixelStride)
    TileLoops.forEachWindow(lanes: TileVector.channelCount, block, image, step: 4, into: target) { y, d in
      var (y, d) = (y + inside, d)
      @inline(__always) func column() -> TileVectors6 {
        var row = y
        y += pixelStride
        return outputGradientTransform(
          TileVector(&row, step: rowStride), TileVector(&row, step: rowStride), TileVector(&row, step: rowStride),
          TileVector(&row, step: rowStride))
      }
      let (a, b, c, e) = (column(), column(), column(), column())
      store(outputGradientTransform(a.0, b.0, c.0, e.0), &d, positionStride)
      store(outputGradientTransform(a.1, b.1, c.1, e.1), &d, positionStride)
      store(outputGradientTransform(a.2, b.2, c.2, e.2), &d, positionStride)
      store(outputGradientTransform(a.3, b.3, c.3, e.3), &d, positionStride)
      store(outputGradientTransform(a.4, b.4, c.4, e.4), &d, positionStride)
      store(outputGradientTransform(a.5, b.5, c.5, e.5), &d, positionStride)
    }
  }

  /// E = BᵀdY B: at stride 1, the input gradient is a convolution of the output gradient with the flipped weight.
  static func transformOutputGradientWindow(
    _ block: TileBlock, _ image: PaddedImage, into target: UnsafeMutablePointer<Float>
  ) { transformInput(block, image, into: target) }

  /// y = AᵀMA.
  @inline(never)
  static func transformOutput(
    _ block: TileBlock, _ source: UnsafePointer<Float>, channels: Int,
    into target: UnsafeMutablePointer<Float>
  ) {
    let positionStride = TileBlock.positionStride(rows: block.tiles, columns: channels)
    let positionRowStride = 6 &* positionStride
    let rowStride = 4 &* block.tileColumns &* channels
    TileLoops.forEachOutput(lanes: TileVector.channelCount, block, source, channels: channels, step: 4, into: target) {
      m, y in
      var (m, y) = (m, y)
      @inline(__always) func column() -> TileVectors4 {
        var row = m
        m += positionStride
        return outputTransform(
          TileVector(&row, step: positionRowStride), TileVector(&row, step: positionRowStride),
          TileVector(&row, step: positionRowStride), TileVector(&row, step: positionRowStride),
          TileVector(&row, step: positionRowStride), TileVector(&row, step: positionRowStride))
      }
      @inline(__always) func store(_ f: TileVectors4) {
        var pixel = y
        y += rowStride
        f.0.store(&pixel, step: channels)
        f.1.store(&pixel, step: channels)
        f.2.store(&pixel, step: channels)
        f.3.store(&pixel, step: channels)
      }
      let (a, b, c, d, e, f) = (column(), column(), column(), column(), column(), column())
      store(outputTransform(a.0, b.0, c.0, d.0, e.0, f.0))
      store(outputTransform(a.1, b.1, c.1, d.1, e.1, f.1))
      store(outputTransform(a.2, b.2, c.2, d.2, e.2, f.2))
      store(outputTransform(a.3, b.3, c.3, d.3, e.3, f.3))
    }
  }

  static func transformInputGradient(
    _ block: TileBlock, _ source: UnsafePointer<Float>, channels: Int, _ g: ConvolutionGeometry,
    into target: UnsafeMutablePointer<Float>
  ) { transformOutput(block, source, channels: channels, into: target) }

  /// U = G w Gᵀ.
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

  /// dW = Gᵀ dU G.
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
    _ w: UnsafePointer<Float>, tapStride: Int, _ u: UnsafeMutablePointer<Float>, matrixStride: Int
  ) {
    @inline(__always) func column(_ s: Int) -> Vectors6 {
      weightTransform(
        (w + s &* tapStride).vector, (w + (3 &+ s) &* tapStride).vector,
        (w + (6 &+ s) &* tapStride).vector)
    }
    @inline(__always) func store(_ i: Int, _ f: Vectors6) {
      storeRow(f, u + 6 &* i &* matrixStride, matrixStride)
    }
    let (a, b, c) = (column(0), column(1), column(2))
    store(0, weightTransform(a.0, b.0, c.0))
    store(1, weightTransform(a.1, b.1, c.1))
    store(2, weightTransform(a.2, b.2, c.2))
    store(3, weightTransform(a.3, b.3, c.3))
    store(4, weightTransform(a.4, b.4, c.4))
    store(5, weightTransform(a.5, b.5, c.5))
  }

  @inline(__always)
  private static func weightGradientVector(
    _ u: UnsafePointer<Float>, matrixStride: Int, _ w: UnsafeMutablePointer<Float>, tapStride: Int, isAdded: Bool
  ) {
    @inline(__always) func column(_ j: Int) -> Vectors3 {
      let u = u + j &* matrixStride
      let step = 6 &* matrixStride
      return weightGradientTransform(
        u.vector, (u + step).vector, (u + 2 &* step).vector, (u + 3 &* step).vector,
        (u + 4 &* step).vector, (u + 5 &* step).vector)
    }
    @inline(__always) func store(_ r: Int, _ f: Vectors3) {
      let w = w + 3 &* r &* tapStride
      w.store(f.0, isAdded: isAdded)
      (w + tapStride).store(f.1, isAdded: isAdded)
      (w + 2 &* tapStride).store(f.2, isAdded: isAdded)
    }
    let (a, b, c, d, e, f) = (column(0), column(1), column(2), column(3), column(4), column(5))
    store(0, weightGradientTransform(a.0, b.0, c.0, d.0, e.0, f.0))
    store(1, weightGradientTransform(a.1, b.1, c.1, d.1, e.1, f.1))
    store(2, weightGradientTransform(a.2, b.2, c.2, d.2, e.2, f.2))
  }

  /// Stores six positions.
  @inline(__always)
  private static func storeRow(_ f: Vectors6, _ target: UnsafeMutablePointer<Float>, _ stride: Int) {
    target.store(f.0)
    (target + stride).store(f.1)
    (target + 2 &* stride).store(f.2)
    (target + 3 &* stride).store(f.3)
    (target + 4 &* stride).store(f.4)
    (target + 5 &* stride).store(f.5)
  }
}
