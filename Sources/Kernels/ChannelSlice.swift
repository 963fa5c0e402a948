/// Up to 64 channels that a pass over an image handles at once, as four vectors: of one pixel, two, or four.
///
/// Four vectors keep four sums apart, enough to hide the latency of an addition, and their coefficients stay in registers
/// for the whole image.
struct ChannelSlice {
  /// The first channel.
  let first: Int
  /// 64, 32 or 16 channels.
  let width: Int
  /// From one group of pixels to the next.
  let step: Int
  /// The groups of pixels in a row of the image.
  let groupsPerRow: Int
  /// Where the four vectors of a group of pixels lie.
  let offsets: InlineArray<4, Int>

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
    offsets = InlineArray { j in (j / perPixel) * channels + first + (j * 16) % width }
  }

  /// The coefficients of this slice's channels, one vector for each of the four.
  @inline(__always)
  func coefficients(_ values: UnsafePointer<Float>) -> InlineArray<4, Vector> {
    let (first, width) = (first, width)
    return InlineArray { j in (values + (first + (j * 16) % width)).vector }
  }

  /// Adds four vectors of sums to the sums of this slice's channels, pixels first, always in the same order.
  func add(_ sums: InlineArray<4, Vector>, to totals: UnsafeMutablePointer<Double>) {
    forEachChannelSum(sums) { c, sum in totals[c] += Double(sum) }
  }

  /// Adds four vectors of sums to the sums of this slice's channels, pixels first, always in the same order.
  func add(_ sums: InlineArray<4, Vector>, to totals: UnsafeMutablePointer<Float>) {
    forEachChannelSum(sums) { c, sum in totals[c] += sum }
  }

  @inline(__always)
  private func forEachChannelSum(_ sums: InlineArray<4, Vector>, _ body: (Int, Float) -> Void) {
    switch width {
    case 64: for j in 0..<4 { for lane in 0..<16 { body(first + j * 16 + lane, sums[j][lane]) } }
    case 32:
      let joined: InlineArray<2, Vector> = [sums[0] + sums[2], sums[1] + sums[3]]
      for j in 0..<2 { for lane in 0..<16 { body(first + j * 16 + lane, joined[j][lane]) } }
    default:
      let joined = (sums[0] + sums[1]) + (sums[2] + sums[3])
      for lane in 0..<16 { body(first + lane, joined[lane]) }
    }
  }

  /// The rows after which fp32 sums go to their totals: about 128 additions a lane keep them near one unit in the last
  /// place, and the hand-over below two per cent of the pass.
  var rowsPerSum: Int { max(1, 128 / groupsPerRow) }
}

/// Calls `body` for every slice of an image's channels.
@inline(__always)
func forEachSlice(channels: Int, imageWidth: Int, _ body: (ChannelSlice) -> Void) {
  var first = 0
  while first < channels {
    let slice = ChannelSlice(from: first, channels: channels, imageWidth: imageWidth)
    body(slice)
    first += slice.width
  }
}
