/// Per-channel sums over pixels: fp32 within an image row, Double beyond, always in the same order.
///
/// Rows of at most a few dozen pixels keep the fp32 error near one unit in the last place; the Doubles carry the rest.
struct ChannelSums {
  private let channels: Int
  private let rowSums: UnsafeMutablePointer<Float>
  private let totals: UnsafeMutablePointer<Double>

  /// Clears the totals.
  ///
  /// - Parameters:
  ///   - channels: C, the length of each of the two sums.
  ///   - totals: 2·C numbers: the first sum, then the second.
  ///   - scratch: Room for 2·C floats.
  init(channels: Int, totals: UnsafeMutablePointer<Double>, scratch: UnsafeMutablePointer<Float>) {
    self.channels = channels
    self.totals = totals
    rowSums = scratch
    totals.update(repeating: 0, count: 2 * channels)
  }

  /// Adds one row of pixels.
  ///
  /// - Parameters:
  ///   - pixels: The number of pixels in the row.
  ///   - add: Called with a pixel's first element and the row's two sums, to which it adds C numbers each.
  @inline(__always)
  func addRow(
    pixels: Int, _ add: (_ offset: Int, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void
  ) {
    rowSums.update(repeating: 0, count: 2 * channels)
    for pixel in 0..<pixels { add(pixel * channels, rowSums, rowSums + channels) }
    for i in 0..<2 * channels { totals[i] += Double(rowSums[i]) }
  }
}
