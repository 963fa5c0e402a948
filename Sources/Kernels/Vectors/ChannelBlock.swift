/// Up to 64 channels that a pass over an image handles at once, as four vectors: of one pixel, two, or four.
///
/// Four vectors keep four sums apart, enough to hide the latency of an addition, and their coefficients stay in registers
/// for the whole image.
struct ChannelBlock {
  /// The first channel.
  let first: Int
  /// 64, 32 or 16 channels.
  let width: Int
  /// From one group of pixels to the next.
  let step: Int
  /// The groups of pixels in a row of the image.
  let groupsPerRow: Int
  /// Where the four vectors of a group of pixels lie.
  let offsets: VectorX4Offsets

  /// Tells whether slices can cover an image: channels in vectors, and rows in groups of pixels.
  static func covers(channels: Int, imageWidth: Int) -> Bool {
    channels.isMultiple(of: 16) && imageWidth.isMultiple(of: 4)
  }

  /// The slice that starts at a channel: as wide as those that are left.
  init(from first: Int, channels: Int, imageWidth: Int) {
    let left = channels - first
    width = left >= 64 ? 64 : left >= 32 ? 32 : 16
    self.first = first
    let pixels = 64 / width
    step = pixels * channels
    groupsPerRow = imageWidth / pixels
    let (width, perPixel) = (width, width / 16)
    func offset(_ j: Int) -> Int { (j / perPixel) * channels + first + (j * 16) % width }
    offsets = VectorX4Offsets(a: offset(0), b: offset(1), c: offset(2), d: offset(3))
  }

  /// The coefficients of this slice's channels, one vector for each of the four.
  @inline(__always)
  func coefficients(_ values: UnsafePointer<Float>) -> VectorX4 {
    let values = values + first
    return VectorX4(
      values.vector, (values + 16 % width).vector, (values + 32 % width).vector,
      (values + 48 % width).vector)
  }

  /// Adds four vectors of sums to the sums of this slice's channels, pixels first, always in the same order.
  func add(_ sums: VectorX4, to totals: UnsafeMutablePointer<Double>) {
    forEachChannelSum(sums) { c, sum in totals[c] += Double(sum) }
  }

  /// Adds four vectors of sums to the sums of this slice's channels, pixels first, always in the same order.
  func add(_ sums: VectorX4, to totals: UnsafeMutablePointer<Float>) {
    forEachChannelSum(sums) { c, sum in totals[c] += sum }
  }

  @inline(__always)
  private func forEachChannelSum(_ sums: VectorX4, _ body: (Int, Float) -> Void) {
    switch width {
    case 64:
      forEachLane(sums.a, first, body)
      forEachLane(sums.b, first + 16, body)
      forEachLane(sums.c, first + 32, body)
      forEachLane(sums.d, first + 48, body)
    case 32:
      forEachLane(sums.a + sums.c, first, body)
      forEachLane(sums.b + sums.d, first + 16, body)
    default:
      forEachLane((sums.a + sums.b) + (sums.c + sums.d), first, body)
    }
  }

  @inline(__always)
  private func forEachLane(_ sums: Vector, _ channel: Int, _ body: (Int, Float) -> Void) {
    for lane in 0..<16 { body(channel + lane, sums[lane]) }
  }

  /// The rows after which fp32 sums go to their totals: about 128 additions a lane keep them near one unit in the last
  /// place, and the hand-over below two per cent of the pass.
  var rowsPerFlush: Int { max(1, 128 / groupsPerRow) }
}

/// Calls `body` for every slice of an image's channels.
@inline(__always)
func forEachChannelBlock(channels: Int, imageWidth: Int, _ body: (ChannelBlock) -> Void) {
  var first = 0
  while first < channels {
    let slice = ChannelBlock(from: first, channels: channels, imageWidth: imageWidth)
    body(slice)
    first += slice.width
  }
}
