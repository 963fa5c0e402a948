import Tensors

// Kernels in Winograd's form: U = G w Gᵀ, packed in panels for the matrix products, and dW = Gᵀ dU G.

/// Where U lies: `[36, columns/panel, rows, panel]`.
struct TransformedKernelLayout {
  let rows: Int
  let columns: Int
  /// The columns that a register tile takes.
  let panel: Int

  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    panel = MatrixProduct.panelWidth(columns: columns)
  }

  /// From one frequency to the next.
  var frequencyStride: Int { rows * columns }
  /// From one panel to the next.
  var panelStride: Int { rows * panel }

  /// The place of an element within its frequency.
  func offset(row: Int, column: Int) -> Int {
    (column / panel) * panelStride + row * panel + column % panel
  }
}

/// Writes U for the way forward, `[36, C, K]`, and behind it U′ of the rotated kernel for the way back, `[36, K, C]`.
///
/// Rotating a kernel by half a turn turns each of its transformed elements into that of the reciprocal point, times a
/// power of two: w′(p) = p²·w(1/p). So U′ is U in another order, exactly.
///
/// - Parameters:
///   - geometry: The convolution.
///   - weight: `RSCK`.
///   - target: 2·36·C·K floats.
func transformKernel(
  _ geometry: ConvolutionGeometry, _ weight: UnsafePointer<Float>,
  into target: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let layout = TransformedKernelLayout(rows: channels, columns: filters)
  let turned = TransformedKernelLayout(rows: filters, columns: channels)
  let turnedTarget = target + WinogradPlan.frequencies * layout.frequencyStride
  let tapStride = channels * filters
  for k in stride(from: 0, to: filters, by: 16) {
    for c in 0..<channels {
      let w = weight + (c * filters + k)
      var rows = InlineArray<18, Vector>(repeating: Vector())
      for s in 0..<3 {
        let f = kernelTransform(
          (w + s * tapStride).vector, (w + (3 + s) * tapStride).vector,
          (w + (6 + s) * tapStride).vector)
        (rows[s], rows[3 + s], rows[6 + s]) = (f.0, f.1, f.2)
        (rows[9 + s], rows[12 + s], rows[15 + s]) = (f.3, f.4, f.5)
      }
      let u = target + layout.offset(row: c, column: k)
      let uTurned = turnedTarget + turned.offset(row: k, column: c)
      for i in 0..<6 {
        let f = kernelTransform(rows[3 * i], rows[3 * i + 1], rows[3 * i + 2])
        let values: InlineArray<6, Vector> = [f.0, f.1, f.2, f.3, f.4, f.5]
        for j in 0..<6 {
          (u + (6 * i + j) * layout.frequencyStride).store(values[j])
          let scale = Vector(repeating: reciprocalScale[i] * reciprocalScale[j])
          scatter(
            values[j] * scale,
            to: uTurned + (6 * reciprocalPoint[i] + reciprocalPoint[j]) * turned.frequencyStride,
            stride: turned.panel)
        }
      }
    }
  }
}

/// The frequency of the reciprocal point: 0 and ∞, √½ and √2 change places.
@inline(__always) private var reciprocalPoint: InlineArray<6, Int> { [5, 3, 4, 1, 2, 0] }
/// What a transformed element is multiplied by when it moves there.
@inline(__always) private var reciprocalScale: InlineArray<6, Float> { [1, -0.5, -0.5, -2, -2, 1] }

@inline(__always)
private func scatter(_ values: Vector, to target: UnsafeMutablePointer<Float>, stride: Int) {
  for lane in 0..<16 { target[lane &* stride] = values[lane] }
}

/// Writes dW = Gᵀ dU G for a block of rows and columns.
///
/// - Parameters:
///   - source: dU of the block, `[36, rows, columns]`.
///   - frequencyStride: From one frequency of dU to the next.
///   - rows: Input channels of the block.
///   - columns: Filters of the block, a multiple of 16.
///   - target: The block's first element of dW, `RSCK`.
///   - geometry: The convolution.
func transformKernelGradient(
  _ source: UnsafePointer<Float>, frequencyStride: Int, rows: Int, columns: Int,
  into target: UnsafeMutablePointer<Float>, _ geometry: ConvolutionGeometry
) {
  let filters = geometry.outputChannels
  let tapStride = geometry.inputChannels &* filters
  for c in 0..<rows {
    for k in stride(from: 0, to: columns, by: 16) {
      let u = source + (c &* columns &+ k)
      var taps = InlineArray<18, Vector>(repeating: Vector())
      for j in 0..<6 {
        let u = u + j &* frequencyStride
        let step = 6 &* frequencyStride
        let f = kernelGradientTransform(
          u.vector, (u + step).vector, (u + 2 &* step).vector, (u + 3 &* step).vector,
          (u + 4 &* step).vector, (u + 5 &* step).vector)
        taps[j] = f.0
        taps[6 &+ j] = f.1
        taps[12 &+ j] = f.2
      }
      let w = target + (c &* filters &+ k)
      for r in 0..<3 {
        let f = kernelGradientTransform(
          taps[6 &* r], taps[6 &* r &+ 1], taps[6 &* r &+ 2], taps[6 &* r &+ 3],
          taps[6 &* r &+ 4], taps[6 &* r &+ 5])
        let w = w + 3 &* r &* tapStride
        w.store(f.0)
        (w + tapStride).store(f.1)
        (w + 2 &* tapStride).store(f.2)
      }
    }
  }
}
