import Tensors

/// The sizes of a direct convolution: one of any shape, computed as matrix products without unfolding its input.
///
/// Channels are padded to a multiple of 16, so that all products have whole vectors.
struct DirectPlan {
  let geometry: ConvolutionGeometry
  /// The filters, padded to whole vectors.
  let filters: Int
  /// The input channels, padded to whole vectors, of the input gradient.
  let channels: Int
  /// The rows and columns of zeros before the output gradient in the backward pass.
  let gradientBorderBefore: Int

  init(_ geometry: ConvolutionGeometry) {
    self.geometry = geometry
    filters = geometry.outputChannels.roundedUpToVector
    channels = geometry.inputChannels.roundedUpToVector
    gradientBorderBefore = (geometry.kernelSize - 1) / geometry.stride
  }

  /// R·S·C, the depth of the forward pass's products.
  var depth: Int { geometry.kernelSize * geometry.kernelSize * geometry.inputChannels }
  /// The floats of the weight packed for the forward pass, `[panels, R·S·C, panel]`.
  var forwardWeightCount: Int { depth * filters }
  /// The floats of the flipped weight packed for the backward pass, phase by phase.
  var backwardWeightCount: Int {
    geometry.kernelSize * geometry.kernelSize * filters * channels
  }

  /// Returns the number of taps of one axis that reach input pixels of a phase: phase, phase + stride, … below R.
  func taps(_ phase: Int) -> Int {
    max(0, (geometry.kernelSize - phase + geometry.stride - 1) / geometry.stride)
  }

  /// Calls `body` for each phase of the two axes with the offset of its packed weight, `[panels, taps, taps, K, panel]`.
  ///
  /// With stride s, input pixels h with the same (h + padding) mod s are one phase: the same taps reach them.
  @inline(__always)
  func forEachPhase(_ body: (_ row: Int, _ column: Int, _ weightOffset: Int) -> Void) {
    var offset = 0
    for row in 0..<geometry.stride {
      for column in 0..<geometry.stride {
        body(row, column, offset)
        offset += taps(row) * taps(column) * filters * channels
      }
    }
  }

  /// Returns the first input pixel of a phase, along one axis.
  func firstPixel(_ phase: Int) -> Int {
    let rest = (phase - geometry.paddingBefore) % geometry.stride
    return rest < 0 ? rest + geometry.stride : rest
  }

  /// Returns the output pixel to which the first tap of a phase maps input pixel `position`, along one axis.
  func outputPosition(_ position: Int, phase: Int) -> Int {
    (position + geometry.paddingBefore - phase) / geometry.stride
  }
}

/// The arrays of one image in a worker's scratch memory.
struct DirectScratch {
  /// z, the padded input.
  let input: PaddedImage
  /// dY, the padded output gradient, with whole vectors of channels.
  let outputGradient: PaddedImage
  /// y or dZ as the products write them, with whole vectors of channels.
  let product: UnsafeMutablePointer<Float>
  /// dW with whole vectors of filters; empty if K is a multiple of 16.
  let paddedWeightGradient: UnsafeMutablePointer<Float>
  /// The floats of all arrays together.
  let count: Int

  /// Divides scratch memory; if `start` is `nil`, only ``count`` may be used.
  init(_ plan: DirectPlan, at start: UnsafeMutablePointer<Float>?) {
    let g = plan.geometry
    // Counting needs the distances between addresses only: the placeholder is never dereferenced.
    let base = start ?? UnsafeMutablePointer(bitPattern: 64).unsafelyUnwrapped
    func reach(_ outputs: Int, _ inputs: Int) -> Int {
      (outputs - 1) * g.stride + g.kernelSize - g.paddingBefore - inputs
    }
    input = PaddedImage(
      start: base, height: g.inputHeight, width: g.inputWidth, pixelStride: g.inputChannels,
      border: Border(
        before: g.paddingBefore, afterRows: max(0, reach(g.outputHeight, g.inputHeight)),
        afterColumns: max(0, reach(g.outputWidth, g.inputWidth))))
    func excess(_ inputs: Int, _ outputs: Int) -> Int {
      (inputs - 1 + g.paddingBefore) / g.stride - (outputs - 1)
    }
    outputGradient = PaddedImage(
      start: base + input.count.roundedUpToVector, height: g.outputHeight, width: g.outputWidth,
      pixelStride: plan.filters,
      border: Border(
        before: plan.gradientBorderBefore, afterRows: max(0, excess(g.inputHeight, g.outputHeight)),
        afterColumns: max(0, excess(g.inputWidth, g.outputWidth))))
    product = outputGradient.start + outputGradient.count
    paddedWeightGradient =
      product
      + max(
        g.outputHeight * g.outputWidth * plan.filters, g.inputHeight * g.inputWidth * plan.channels)
    let padded = plan.filters == g.outputChannels ? 0 : plan.depth * plan.filters
    count = (paddedWeightGradient - base) + padded
  }
}

extension DirectPlan {
  /// Packs a weight for the products of the forward pass.
  ///
  /// - Parameters:
  ///   - weight: `RSCK`.
  ///   - target: ``forwardWeightCount`` floats.
  func packWeight(_ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>) {
    let g = geometry
    if filters != g.outputChannels {
      target.update(repeating: 0, count: forwardWeightCount)
    }
    let panel = PackedGEMM.panelWidth(columns: filters)
    for row in 0..<depth {
      for k in 0..<g.outputChannels {
        target[(k / panel) &* depth &* panel &+ row &* panel &+ k % panel] =
          weight[row &* g.outputChannels &+ k]
      }
    }
  }

  /// Packs the flipped weight for the products of the backward pass, phase by phase.
  ///
  /// - Parameters:
  ///   - weight: `RSCK`.
  ///   - target: ``backwardWeightCount`` floats.
  func packFlippedWeight(_ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>) {
    let g = geometry
    if filters != g.outputChannels || channels != g.inputChannels {
      target.update(repeating: 0, count: backwardWeightCount)
    }
    forEachPhase { phaseRow, phaseColumn, offset in
      let (rows, columns) = (taps(phaseRow), taps(phaseColumn))
      for i in 0..<rows {
        for j in 0..<columns {
          // The last tap first: it belongs to the earliest output pixel.
          let r = phaseRow + (rows - 1 - i) * g.stride
          let s = phaseColumn + (columns - 1 - j) * g.stride
          transpose(
            weight + (r * g.kernelSize + s) * g.inputChannels * g.outputChannels,
            into: target + offset, firstRow: (i * columns + j) * filters,
            depth: rows * columns * filters)
        }
      }
    }
  }

  /// Writes one tap's `[C, K]` as rows `[K, C]` of a packed matrix.
  private func transpose(
    _ tap: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>, firstRow: Int, depth: Int
  ) {
    let panel = PackedGEMM.panelWidth(columns: channels)
    for c in 0..<geometry.inputChannels {
      let column = target + ((c / panel) * depth * panel + firstRow * panel + c % panel)
      for k in 0..<geometry.outputChannels { column[k &* panel] = tap[c &* geometry.outputChannels &+ k] }
    }
  }
}
