import Tensors

/// The element-wise passes of batch normalisation, ReLU, bias and residual addition around a convolution.
enum FusedElementwise {
  /// Computes z = max(0, scale·x + shift).
  static func normalize(
    _ x: UnsafePointer<Float>, by map: NormalizedReLU, pixels: Int, channels: Int,
    into z: UnsafeMutablePointer<Float>
  ) {
    let (scale, shift) = (map.scale, map.shift)
    for pixel in 0..<pixels {
      let source = x + pixel * channels
      let target = z + pixel * channels
      for c in 0..<channels {
        let value = scale[c] * source[c] + shift[c]
        // Written so that NaN passes: `max(0, value)` would hide a run that has diverged.
        target[c] = value < 0 ? 0 : value
      }
    }
  }

  /// Computes dY = (ca·g + cb·y + cc, or g) (+ addend), and keeps it for a skip connection if asked.
  ///
  /// - Parameters:
  ///   - operand: The gradient; `offset` is added to each of its activation pointers.
  ///   - offset: The first element of the images in question.
  ///   - pixels: The number of pixels.
  ///   - channels: K.
  ///   - dY: `[pixels, K]`.
  static func outputGradient(
    _ operand: ConvolutionOutputGradient, offset: Int, pixels: Int, channels: Int,
    into dY: UnsafeMutablePointer<Float>
  ) {
    let count = pixels * channels
    let g = operand.gradient + offset
    if let map = operand.normalization {
      let (ca, cb, cc) = (map.gradientScale, map.activationScale, map.constant)
      let y = map.activation + offset
      for pixel in 0..<pixels {
        let start = pixel * channels
        for c in 0..<channels {
          dY[start + c] = ca[c] * g[start + c] + (cb[c] * y[start + c] + cc[c])
        }
      }
    } else {
      dY.update(from: g, count: count)
    }
    if let addend = operand.addend.map({ $0 + offset }) {
      for i in 0..<count { dY[i] += addend[i] }
    }
    if let stored = operand.stored { (stored + offset).update(from: dY, count: count) }
  }

  /// Masks dZ by the ReLU in place, g' = z <= 0 ? 0 : dZ, and adds Σg' and Σg'·(x − mean) row by row.
  static func maskGradient(
    _ dZ: UnsafeMutablePointer<Float>, z: UnsafePointer<Float>, x: UnsafePointer<Float>,
    mean: UnsafePointer<Float>, rows: Int, width: Int, channels: Int, sums: ChannelSums
  ) {
    for row in 0..<rows {
      let start = row * width * channels
      sums.addRow(pixels: width) { offset, gradientSum, productSum in
        let (g, z, x) = (dZ + (start + offset), z + (start + offset), x + (start + offset))
        for c in 0..<channels {
          let masked = z[c] <= 0 ? 0 : g[c]
          g[c] = masked
          gradientSum[c] += masked
          productSum[c] += masked * (x[c] - mean[c])
        }
      }
    }
  }

  /// Adds the addend, if any, to y in place, and adds Σy and Σy² row by row if asked.
  static func applyOutputEpilogue(
    _ y: UnsafeMutablePointer<Float>, addend: UnsafePointer<Float>?, rows: Int, width: Int,
    channels: Int, sums: ChannelSums?
  ) {
    if let addend {
      for i in 0..<rows * width * channels { y[i] += addend[i] }
    }
    guard let sums else { return }
    for row in 0..<rows {
      let start = row * width * channels
      sums.addRow(pixels: width) { offset, sum, squareSum in
        let y = y + (start + offset)
        for c in 0..<channels {
          sum[c] += y[c]
          squareSum[c] += y[c] * y[c]
        }
      }
    }
  }
}

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
