import Tensors

// Convolution of any shape as products of matrices whose rows are pixels of a padded image: nothing is unfolded, because
// the R rows of S·C numbers that an output pixel sees are contiguous in `NHWC`.

/// Computes y = conv(z, weight) + bias (+ addend) and its sums for one microbatch.
///
/// - Parameters:
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: x, `NHWC`, and how z comes from it.
///   - packed: The kernel, as ``packKernel(_:_:into:)`` left it.
///   - bias: K numbers, or nil.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``DirectScratch/count`` floats.
func directForward(
  _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
  scratch: UnsafeMutablePointer<Float>
) {
  let g = geometry
  let plan = DirectPlan(g)
  let memory = DirectScratch(plan, at: scratch)
  memory.input.clear(channels: g.inputChannels)
  output.sums?.update(repeating: 0, count: 2 * g.outputChannels)
  let panel = PackedGEMM.panelWidth(columns: plan.filters)
  let segment = g.kernelSize * g.inputChannels
  let product = GEMMShape(
    segments: g.kernelSize, segmentStrideA: memory.input.rowStride,
    segmentStrideB: segment * panel, depth: segment, rowStrideA: g.stride * g.inputChannels,
    depthStrideA: 1, depthStrideB: panel, rowStrideC: plan.filters)
  for n in 0..<imageCount {
    applyInputPrologue(
      input, offset: n * g.inputCount, into: memory.input, channels: g.inputChannels)
    for p in 0..<g.outputHeight {
      PackedGEMM.multiply(
        product, rows: g.outputWidth, columns: plan.filters,
        memory.input.start + p * g.stride * memory.input.rowStride, packed,
        panelStrideB: plan.depth * panel, memory.product + p * g.outputWidth * plan.filters)
    }
    removeChannelPadding(
      memory.product, rows: g.outputHeight * g.outputWidth, from: plan.filters,
      to: g.outputChannels)
    applyOutputEpilogue(
      output, bias: bias, product: memory.product, offset: n * g.outputCount, rows: g.outputHeight,
      width: g.outputWidth, channels: g.outputChannels)
  }
}

/// Computes the gradients of the kernel, the bias and the input for one microbatch.
///
/// - Parameters:
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: What the forward pass read.
///   - packed: The kernel, as ``packFlippedWeight(_:_:into:)`` left it.
///   - outputGradient: dY, `NPQK`.
///   - weightGradient: dW, `RSCK`, overwritten.
///   - biasGradient: The sum of dY per channel, overwritten; nil without a bias.
///   - inputGradient: Where the input's gradient goes, or nil.
///   - scratch: ``DirectScratch/count`` floats.
func directBackward(
  _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  packed: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
  weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>?,
  inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
) {
  let g = geometry
  let plan = DirectPlan(g)
  let memory = DirectScratch(plan, at: scratch)
  memory.input.clear(channels: g.inputChannels)
  memory.outputGradient.clear(channels: g.outputChannels)
  biasGradient?.update(repeating: 0, count: g.outputChannels)
  inputGradient?.sums?.update(repeating: 0, count: 2 * g.inputChannels)
  let isPadded = plan.filters != g.outputChannels
  let kernelGradient = isPadded ? memory.kernelGradient : weightGradient
  for n in 0..<imageCount {
    applyInputPrologue(
      input, offset: n * g.inputCount, into: memory.input, channels: g.inputChannels)
    applyOutputGradientPrologue(
      outputGradient, offset: n * g.outputCount, into: memory.outputGradient,
      channels: g.outputChannels, biasGradient: biasGradient)
    addKernelGradient(plan, memory, into: kernelGradient, accumulates: n > 0)
    guard let inputGradient else { continue }
    let isWhole = plan.channels == g.inputChannels
    let offset = n * g.inputCount
    let dZ =
      isWhole
      ? inPlaceTarget(inputGradient, input, offset: offset, orElse: memory.product) : memory.product
    multiplyPhases(plan, memory, packed, into: dZ)
    removeChannelPadding(dZ, rows: g.inputHeight * g.inputWidth, from: plan.channels, to: g.inputChannels)
    applyInputGradientEpilogue(
      inputGradient, input: input, product: dZ, offset: offset, rows: g.inputHeight,
      width: g.inputWidth, channels: g.inputChannels)
  }
  if isPadded {
    removeChannelPadding(kernelGradient, rows: plan.depth, from: plan.filters, to: g.outputChannels)
    weightGradient.update(from: kernelGradient, count: g.weightCount)
  }
}

/// dW (+)= the products of one image's input and output gradient, a kernel row at a time.
private func addKernelGradient(
  _ plan: DirectPlan, _ memory: DirectScratch, into target: UnsafeMutablePointer<Float>,
  accumulates: Bool
) {
  let g = plan.geometry
  let rows = g.kernelSize * g.inputChannels
  let product = GEMMShape(
    segments: g.outputHeight, segmentStrideA: g.stride * memory.input.rowStride,
    segmentStrideB: memory.outputGradient.rowStride, depth: g.outputWidth, rowStrideA: 1,
    depthStrideA: g.stride * g.inputChannels, depthStrideB: plan.filters,
    rowStrideC: plan.filters, accumulates: accumulates)
  for r in 0..<g.kernelSize {
    PackedGEMM.multiply(
      product, rows: rows, columns: plan.filters, memory.input.start + r * memory.input.rowStride,
      memory.outputGradient.row(0),
      panelStrideB: PackedGEMM.panelWidth(columns: plan.filters),
      target + r * rows * plan.filters)
  }
}

/// dZ of one image: for every phase, each input pixel is a product of the output gradients around it and the taps that
/// reach it.
private func multiplyPhases(
  _ plan: DirectPlan, _ memory: DirectScratch, _ kernel: UnsafePointer<Float>,
  into target: UnsafeMutablePointer<Float>
) {
  let g = plan.geometry
  let gradient = memory.outputGradient
  let panel = PackedGEMM.panelWidth(columns: plan.channels)
  plan.forEachPhase { phaseRow, phaseColumn, offset in
    let (tapRows, tapColumns) = (plan.taps(phaseRow), plan.taps(phaseColumn))
    let segment = tapColumns * plan.filters
    let product = GEMMShape(
      segments: tapRows, segmentStrideA: gradient.rowStride, segmentStrideB: segment * panel,
      depth: segment, rowStrideA: plan.filters, depthStrideA: 1, depthStrideB: panel,
      rowStrideC: g.stride * plan.channels)
    let w = plan.firstPosition(phaseColumn)
    let q = plan.outputPosition(w, phase: phaseColumn) - (tapColumns - 1)
    for h in stride(from: plan.firstPosition(phaseRow), to: g.inputHeight, by: g.stride) {
      let p = plan.outputPosition(h, phase: phaseRow) - (tapRows - 1)
      PackedGEMM.multiply(
        product, rows: max(0, (g.inputWidth - w + g.stride - 1) / g.stride),
        columns: plan.channels, gradient.row(p) + q * plan.filters, kernel + offset,
        panelStrideB: tapRows * segment * panel,
        target + (h * g.inputWidth + w) * plan.channels)
    }
  }
}

/// Drops the channels that pad each row of a matrix, in place.
private func removeChannelPadding(
  _ rows: UnsafeMutablePointer<Float>, rows count: Int, from padded: Int, to channels: Int
) {
  guard padded != channels else { return }
  for row in 0..<count {
    (rows + row * channels).update(from: rows + row * padded, count: channels)
  }
}
