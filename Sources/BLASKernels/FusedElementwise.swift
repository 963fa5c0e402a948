import Tensors

/// Prologues and epilogues of a convolution: batch norm, ReLU, residual add, and their backward passes.
enum FusedElementwise {
  /// Computes z = max(0, scale·x + shift); x and z are `[pixels, channels]`.
  static func applyInputPrologue(
    _ x: UnsafePointer<Float>, by map: NormalizedReLU, pixels: Int, channels: Int,
    into z: UnsafeMutablePointer<Float>
  ) {
    let (scale, shift) = (map.scale, map.shift)
    for pixel in 0..<pixels {
      let source = x + pixel * channels
      let target = z + pixel * channels
      for c in 0..<channels {
        let value = scale[c] * source[c] + shift[c]
        // This form propagates NaN. `max(0, value)` would turn NaN into 0 and hide that a run has diverged.
        target[c] = value < 0 ? 0 : value
      }
    }
  }

  /// Computes dY = (ca·g + cb·y + cc, or g) (+ addend), and saves it if `operand` has a destination.
  ///
  /// - Parameters:
  ///   - operand: The output gradient of the whole microbatch.
  ///   - offset: The index of the first element in all `NPQK` arrays of `operand`.
  ///   - pixels: The number of pixels.
  ///   - channels: K.
  ///   - dY: `[pixels, K]`; overwritten.
  static func applyOutputGradientPrologue(
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
    if let savedGradient = operand.savedGradient { (savedGradient + offset).update(from: dY, count: count) }
  }

  /// Multiplies kept elements by the mask's scale and sets the others to 0, in place; `count` is a multiple of 16.
  static func applyDropout(_ mask: DropoutMask, to values: UnsafeMutablePointer<Float>, count: Int) {
    let scale = mask.scale
    for word in 0..<count / 16 {
      let (bits, values) = (UInt32(mask.words[word]), values + 16 * word)
      for l in 0..<16 {
        let value = values[l] * scale
        values[l] = bits >> UInt32(l) & 1 == 0 ? 0 : value
      }
    }
  }

  /// Masks a gradient in place by the ReLU, g' = scale·x + shift <= 0 ? 0 : g, and adds Σg' and Σg'·(x − mean) to `sums`
  /// row by row.
  static func applyInputGradientEpilogue(
    _ gradient: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, map: NormalizedReLU,
    mean: UnsafePointer<Float>, rows: Int, width: Int, channels: Int, sums: ChannelSums
  ) {
    let (scale, shift) = (map.scale, map.shift)
    for row in 0..<rows {
      let start = row * width * channels
      sums.addRow(pixels: width) { offset, gradientSum, productSum in
        let (g, x) = (gradient + (start + offset), x + (start + offset))
        for c in 0..<channels {
          // Rounded as in the prologue, so that mask and z agree.
          let masked = scale[c] * x[c] + shift[c] <= 0 ? 0 : g[c]
          g[c] = masked
          gradientSum[c] += masked
          productSum[c] += masked * (x[c] - mean[c])
        }
      }
    }
  }

  /// Adds `addend`, if any, to y in place, and adds Σy and Σy² to `sums`, if any, row by row.
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

/// Two per-channel sums over pixels: fp32 within an image row, Double across rows, in a fixed order.
///
/// A row has at most a few dozen pixels, which keeps the error of its fp32 sum near one unit in the last place.
struct ChannelSums {
  private let channels: Int
  private let rowSums: UnsafeMutablePointer<Float>
  private let totals: UnsafeMutablePointer<Double>

  /// Creates the sums and sets the totals to 0.
  ///
  /// - Parameters:
  ///   - channels: The number of channels, the length of each sum.
  ///   - totals: The first sum, then the second; overwritten.
  ///   - scratch: 2·channels floats, overwritten.
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
  ///   - add: Called per pixel with the offset of its first element in the row and the row's two sums, to which it adds.
  @inline(__always)
  func addRow(
    pixels: Int, _ add: (_ offset: Int, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void
  ) {
    rowSums.update(repeating: 0, count: 2 * channels)
    for pixel in 0..<pixels { add(pixel * channels, rowSums, rowSums + channels) }
    for i in 0..<2 * channels { totals[i] += Double(rowSums[i]) }
  }
}
