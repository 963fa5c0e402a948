import Tensors

// Kernels of stride 2 by phases: 36 matrices, packed in panels for the matrix products, and back.

/// Writes U for 16 channels, their rows of `[36, C, K]`.
///
/// - Parameters:
///   - geometry: The convolution.
///   - channel: The first channel.
///   - weight: `RSCK`.
///   - target: U.
func polyphaseKernel(
  _ geometry: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
  into target: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let layout = TransformedKernelLayout(rows: channels, columns: filters)
  for c in channel..<channel + 16 {
    for k in stride(from: 0, to: filters, by: 16) {
      kernelVector(
        weight + (c &* filters &+ k), tapStride: channels &* filters,
        into: target + layout.offset(row: c, column: k), layout.frequencyStride)
    }
  }
}

/// Writes U′ of the turned kernel, for the way back, for 16 channels, their columns of `[36, K, C]`.
///
/// On the way back channels and filters change places and the kernel is rotated by half a turn.
///
/// - Parameters:
///   - geometry: The convolution.
///   - channel: The first channel.
///   - weight: `RSCK`.
///   - target: U′.
func polyphaseTurnedKernel(
  _ geometry: ConvolutionGeometry, channel: Int, _ weight: UnsafePointer<Float>,
  into target: UnsafeMutablePointer<Float>
) {
  let layout = TransformedKernelLayout(
    rows: geometry.outputChannels, columns: geometry.inputChannels)
  forEachTurnedBlock(geometry, channel: channel, weight) { k, block in
    for i in 0..<16 {
      kernelVector(
        block + i &* 16, tapStride: 256, into: target + layout.offset(row: k + i, column: channel),
        layout.frequencyStride)
    }
  }
}

@inline(__always)
private func kernelVector(
  _ w: UnsafePointer<Float>, tapStride: Int, into u: UnsafeMutablePointer<Float>, _ stride: Int
) {
  @inline(__always) func tap(_ r: Int, _ s: Int) -> Vector { (w + (3 &* r &+ s) &* tapStride).vector }
  @inline(__always) func store(_ f: Five, _ first: Int, _ step: Int) {
    let u = u + first &* stride
    let stride = step &* stride
    u.store(f.0)
    (u + stride).store(f.1)
    (u + 2 &* stride).store(f.2)
    (u + 3 &* stride).store(f.3)
    (u + 4 &* stride).store(f.4)
  }
  let (left, right) = (evenKernelTransform(tap(0, 0), tap(2, 0)), evenKernelTransform(tap(0, 2), tap(2, 2)))
  store(evenKernelTransform(left.0, right.0), 0, 1)
  store(evenKernelTransform(left.1, right.1), 5, 1)
  store(evenKernelTransform(left.2, right.2), 10, 1)
  store(evenKernelTransform(left.3, right.3), 15, 1)
  store(evenKernelTransform(left.4, right.4), 20, 1)
  store(evenKernelTransform(tap(0, 1), tap(2, 1)), 25, 1)
  store(evenKernelTransform(tap(1, 0), tap(1, 2)), 30, 1)
  (u + 35 &* stride).store(tap(1, 1))
}

/// Writes dW for a block of channels and filters.
///
/// - Parameters:
///   - source: dU of the block, `[36, rows, columns]`.
///   - block: The block.
///   - weightGradient: dW, `RSCK`.
///   - geometry: The convolution.
func polyphaseKernelGradient(
  _ source: UnsafePointer<Float>, _ block: KernelBlock,
  into weightGradient: UnsafeMutablePointer<Float>, _ geometry: ConvolutionGeometry
) {
  let filters = geometry.outputChannels
  let tapStride = geometry.inputChannels &* filters
  let target = weightGradient + (block.channel * filters + block.filter)
  for c in 0..<block.rows {
    for k in stride(from: 0, to: block.columns, by: 16) {
      kernelGradientVector(
        source + (c &* block.columns &+ k), block.frequencyStride,
        into: target + (c &* filters &+ k), tapStride: tapStride)
    }
  }
}

@inline(__always)
private func kernelGradientVector(
  _ u: UnsafePointer<Float>, _ stride: Int, into w: UnsafeMutablePointer<Float>, tapStride: Int
) {
  @inline(__always) func back(_ first: Int) -> Two {
    let u = u + first &* stride
    return evenKernelGradientTransform(
      u.vector, (u + stride).vector, (u + 2 &* stride).vector, (u + 3 &* stride).vector,
      (u + 4 &* stride).vector)
  }
  @inline(__always) func store(_ r: Int, _ s: Int, _ value: Vector) {
    (w + (3 &* r &+ s) &* tapStride).store(value)
  }
  let (a, b, c, d, e) = (back(0), back(5), back(10), back(15), back(20))
  let left = evenKernelGradientTransform(a.0, b.0, c.0, d.0, e.0)
  let right = evenKernelGradientTransform(a.1, b.1, c.1, d.1, e.1)
  let (middle, row) = (back(25), back(30))
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
