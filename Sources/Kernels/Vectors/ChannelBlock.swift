/// Up to 64 channels that one sweep over an image handles, as the four vectors of a pixel block: one, two or four pixels.
///
/// Four vectors keep four sums apart, enough to hide the latency of an addition. Their coefficients stay in registers for
/// the whole image. Where rows are no whole pixel blocks of two or four pixels, a block is one pixel. Vectors then repeat:
/// they load, compute and store the same numbers, and only the first of them is summed.
struct ChannelBlock {
  /// The first channel.
  let first: Int
  /// The number of channels: 64, 32 or 16.
  let width: Int
  /// The pixels per pixel block.
  let pixels: Int
  /// The floats from one pixel block to the next.
  let pixelBlockStride: Int
  /// The pixel blocks per row of the image.
  let pixelBlocksPerRow: Int
  /// The positions of the four vectors in a pixel block.
  let offsets: VectorX4.Offsets

  /// Returns whether channel blocks cover an image: channels in whole vectors.
  static func covers(channels: Int) -> Bool { channels.isMultiple(of: 16) }

  /// Creates the block that starts at channel `first`, as wide as the channels that are left allow.
  init(from first: Int, channels: Int, imageWidth: Int) {
    let left = channels - first
    width = left >= 64 ? 64 : left >= 32 ? 32 : 16
    self.first = first
    pixels = imageWidth.isMultiple(of: 64 / width) ? 64 / width : 1
    pixelBlockStride = pixels * channels
    pixelBlocksPerRow = imageWidth / pixels
    offsets = Self.offsets(first: first, width: width, pixels: pixels, pixelStride: channels)
  }

  /// Returns the positions of the four vectors in an image with another distance between its pixels.
  func offsets(pixelStride: Int) -> VectorX4.Offsets {
    Self.offsets(first: first, width: width, pixels: pixels, pixelStride: pixelStride)
  }

  private static func offsets(first: Int, width: Int, pixels: Int, pixelStride: Int) -> VectorX4.Offsets {
    func offset(_ j: Int) -> Int { (j * 16 / width) % pixels * pixelStride + first + (j * 16) % width }
    return VectorX4.Offsets(a: offset(0), b: offset(1), c: offset(2), d: offset(3))
  }

  /// Returns the coefficients of this block's channels, for each of the four vectors.
  @inline(__always)
  func coefficients(_ values: UnsafePointer<Float>) -> VectorX4 {
    let values = values + first
    return VectorX4(
      values.vector, (values + 16 % width).vector, (values + 32 % width).vector,
      (values + 48 % width).vector)
  }

  /// Adds four vectors of sums to the totals of this block's channels, pixels first, always in the same order.
  ///
  /// Out of line: inlined, it took registers from the sweep, which slowed the stem's forward pass by 9 % with AVX2.
  @inline(never)
  func add(_ sums: VectorX4, to totals: UnsafeMutablePointer<Double>) {
    forEachChannelSum(sums) { c, sum in totals[c] += Double(sum) }
  }

  /// Adds four vectors of sums to the totals of this block's channels, pixels first, always in the same order.
  @inline(never)
  func add(_ sums: VectorX4, to totals: UnsafeMutablePointer<Float>) {
    forEachChannelSum(sums) { c, sum in totals[c] += sum }
  }

  @inline(__always)
  private func forEachChannelSum(_ sums: VectorX4, _ body: (_ channel: Int, _ sum: Float) -> Void) {
    switch (width, pixels) {
    case (64, _):
      forEachLane(sums.a, first, body)
      forEachLane(sums.b, first + 16, body)
      forEachLane(sums.c, first + 32, body)
      forEachLane(sums.d, first + 48, body)
    case (32, 2):
      forEachLane(sums.a + sums.c, first, body)
      forEachLane(sums.b + sums.d, first + 16, body)
    case (32, _):
      forEachLane(sums.a, first, body)
      forEachLane(sums.b, first + 16, body)
    case (_, 4): forEachLane((sums.a + sums.b) + (sums.c + sums.d), first, body)
    default: forEachLane(sums.a, first, body)
    }
  }

  @inline(__always)
  private func forEachLane(_ sums: Vector, _ channel: Int, _ body: (Int, Float) -> Void) {
    for lane in 0..<16 { body(channel + lane, sums[lane]) }
  }

  /// The rows after which fp32 sums are added to their totals and cleared.
  ///
  /// About 128 additions per lane keep a sum near one unit in the last place, and the flushes below 2 % of the sweep.
  var rowsPerFlush: Int { max(1, 128 / pixelBlocksPerRow) }
}

/// Calls `body` for every block of an image's channels.
@inline(__always)
func forEachChannelBlock(channels: Int, imageWidth: Int, _ body: (ChannelBlock) -> Void) {
  var first = 0
  while first < channels {
    let block = ChannelBlock(from: first, channels: channels, imageWidth: imageWidth)
    body(block)
    first += block.width
  }
}
