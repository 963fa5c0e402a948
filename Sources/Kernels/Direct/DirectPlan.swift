import Tensors

/// How a convolution of any shape is computed as products of matrices without unfolding anything.
///
/// Channels count up to the next multiple of 16, so that all products have whole vectors.
struct DirectPlan {
  let geometry: ConvolutionGeometry
  /// Filters in whole vectors.
  let filters: Int
  /// Input channels in whole vectors, as the input's gradient has them.
  let channels: Int
  /// Rows and columns of zeros before the output gradient on the way back.
  let gradientBorderBefore: Int

  init(_ geometry: ConvolutionGeometry) {
    self.geometry = geometry
    filters = geometry.outputChannels.roundedUpToVector
    channels = geometry.inputChannels.roundedUpToVector
    gradientBorderBefore = (geometry.kernelSize - 1) / geometry.stride
  }

  /// R·S·C, the terms of one output.
  var depth: Int { geometry.kernelSize * geometry.kernelSize * geometry.inputChannels }
  /// Floats of the kernel packed for the way forward, `[panels, R·S·C, panel]`.
  var forwardKernelCount: Int { depth * filters }
  /// Floats of the kernel packed for the way back, phase by phase.
  var backwardKernelCount: Int {
    geometry.kernelSize * geometry.kernelSize * filters * channels
  }

  /// The taps of one axis that reach input positions of a phase: phase, phase + stride, … below R.
  func taps(_ phase: Int) -> Int {
    max(0, (geometry.kernelSize - phase + geometry.stride - 1) / geometry.stride)
  }

  /// Calls `body` for each phase of the two axes with the place of its packed kernel, `[panels, taps, taps, K, panel]`.
  ///
  /// With stride s, the input positions h for which (h + padding) mod s is the same are reached by the same taps.
  @inline(__always)
  func forEachPhase(_ body: (_ row: Int, _ column: Int, _ kernelOffset: Int) -> Void) {
    var offset = 0
    for row in 0..<geometry.stride {
      for column in 0..<geometry.stride {
        body(row, column, offset)
        offset += taps(row) * taps(column) * filters * channels
      }
    }
  }

  /// The first input position of a phase.
  func firstPosition(_ phase: Int) -> Int {
    let rest = (phase - geometry.paddingBefore) % geometry.stride
    return rest < 0 ? rest + geometry.stride : rest
  }

  /// The output position that the first tap of a phase joins with an input position.
  func outputPosition(_ position: Int, phase: Int) -> Int {
    (position + geometry.paddingBefore - phase) / geometry.stride
  }
}

/// Where the numbers of one image lie in a worker's scratch memory.
struct DirectScratch {
  /// The padded input, z.
  let input: PaddedImage
  /// The padded output gradient, dY, with whole vectors of channels.
  let outputGradient: PaddedImage
  /// y or dZ as the products leave them, with whole vectors of channels.
  let product: UnsafeMutablePointer<Float>
  /// dW with whole vectors of filters.
  let kernelGradient: UnsafeMutablePointer<Float>
  /// The floats of all of these.
  let count: Int

  /// Divides scratch memory; with nil, only counts.
  init(_ plan: DirectPlan, at start: UnsafeMutablePointer<Float>?) {
    let g = plan.geometry
    // To count, places are formed from an address that nobody reads.
    let base = start ?? UnsafeMutablePointer(bitPattern: 64).unsafelyUnwrapped
    func reach(_ outputs: Int, _ inputs: Int) -> Int {
      (outputs - 1) * g.stride + g.kernelSize - g.paddingBefore - inputs
    }
    input = PaddedImage(
      start: base, height: g.inputHeight, width: g.inputWidth, pixelStride: g.inputChannels,
      before: g.paddingBefore,
      after: max(0, reach(g.outputHeight, g.inputHeight), reach(g.outputWidth, g.inputWidth)))
    func excess(_ inputs: Int, _ outputs: Int) -> Int {
      (inputs - 1 + g.paddingBefore) / g.stride - (outputs - 1)
    }
    outputGradient = PaddedImage(
      start: base + input.count.roundedUpToVector, height: g.outputHeight, width: g.outputWidth,
      pixelStride: plan.filters, before: plan.gradientBorderBefore,
      after: max(0, excess(g.inputHeight, g.outputHeight), excess(g.inputWidth, g.outputWidth)))
    product = outputGradient.start + outputGradient.count
    kernelGradient =
      product
      + max(
        g.outputHeight * g.outputWidth * plan.filters, g.inputHeight * g.inputWidth * plan.channels)
    let padded = plan.filters == g.outputChannels ? 0 : plan.depth * plan.filters
    count = (kernelGradient - base) + padded
  }
}

/// Packs a kernel for the products of the direct convolution on the way forward.
///
/// - Parameters:
///   - plan: The convolution.
///   - weight: `RSCK`.
///   - target: ``DirectPlan/forwardKernelCount`` floats.
func packKernel(
  _ plan: DirectPlan, _ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>
) {
  let g = plan.geometry
  if plan.filters != g.outputChannels {
    target.update(repeating: 0, count: plan.forwardKernelCount)
  }
  let panel = PackedGEMM.panelWidth(columns: plan.filters)
  for row in 0..<plan.depth {
    for k in 0..<g.outputChannels {
      target[(k / panel) &* plan.depth &* panel &+ row &* panel &+ k % panel] =
        weight[row &* g.outputChannels &+ k]
    }
  }
}

/// Packs a kernel for the products of the way back, phase by phase.
///
/// - Parameters:
///   - plan: The convolution.
///   - weight: `RSCK`.
///   - target: ``DirectPlan/backwardKernelCount`` floats.
func packFlippedWeight(
  _ plan: DirectPlan, _ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>
) {
  let g = plan.geometry
  if plan.filters != g.outputChannels || plan.channels != g.inputChannels {
    target.update(repeating: 0, count: plan.backwardKernelCount)
  }
  plan.forEachPhase { phaseRow, phaseColumn, offset in
    let (rows, columns) = (plan.taps(phaseRow), plan.taps(phaseColumn))
    for i in 0..<rows {
      for j in 0..<columns {
        // The last tap first: it joins the earliest output position.
        let r = phaseRow + (rows - 1 - i) * g.stride
        let s = phaseColumn + (columns - 1 - j) * g.stride
        turn(
          weight + (r * g.kernelSize + s) * g.inputChannels * g.outputChannels, plan,
          into: target + offset, firstRow: (i * columns + j) * plan.filters,
          depth: rows * columns * plan.filters)
      }
    }
  }
}

/// Writes one tap's `[C, K]` as rows `[K, C]` of a packed matrix.
private func turn(
  _ tap: UnsafePointer<Float>, _ plan: DirectPlan, into target: UnsafeMutablePointer<Float>,
  firstRow: Int, depth: Int
) {
  let (channels, filters) = (plan.geometry.inputChannels, plan.geometry.outputChannels)
  let panel = PackedGEMM.panelWidth(columns: plan.channels)
  for c in 0..<channels {
    let column = target + ((c / panel) * depth * panel + firstRow * panel + c % panel)
    for k in 0..<filters { column[k &* panel] = tap[c &* filters &+ k] }
  }
}
