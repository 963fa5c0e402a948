import Tensors

// Convolutions of any shape as matrix products whose rows are pixels of a padded image. Nothing is unfolded: each of the R
// rows of S·C numbers that an output pixel depends on is contiguous in `NHWC`.

/// Computes y = conv(z, weight) + bias (+ addend) and its sums for one microbatch.
///
/// - Parameters:
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: x, `NHWC`, and the map from x to z.
///   - packed: The weight, as ``DirectPlan/packWeight(_:into:)`` writes it.
///   - bias: K numbers. If `nil`, there is no bias.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``DirectScratch/count`` floats, overwritten.
///   - ticks: Where the time of each phase is added. If `nil`, it is not measured.
func directForward(
  _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
  scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  var clock = PhaseClock(ticks)
  let g = geometry
  let plan = DirectPlan(g)
  let memory = DirectScratch(plan, at: scratch)
  memory.input.clear(channels: g.inputChannels)
  output.sums?.update(repeating: 0, count: 2 * g.outputChannels)
  let panel = PackedGEMM.panelWidth(columns: plan.filters)
  let depth = g.kernelSize * g.inputChannels
  let shape = GEMMShape(
    outerDepth: g.kernelSize, outerStrideA: memory.input.rowStride,
    outerStrideB: depth * panel, depth: depth, rowStrideA: g.stride * g.inputChannels,
    depthStrideA: 1, depthStrideB: panel, rowStrideC: plan.filters)
  for n in 0..<imageCount {
    applyInputPrologue(
      input, offset: n * g.inputCount, into: memory.input, channels: g.inputChannels)
    clock.lap(.inputPrologue)
    for p in 0..<g.outputHeight {
      PackedGEMM.multiply(
        shape, rows: g.outputWidth, columns: plan.filters,
        memory.input.start + p * g.stride * memory.input.rowStride, packed,
        panelStrideB: plan.depth * panel, memory.product + p * g.outputWidth * plan.filters)
    }
    removeChannelPadding(
      memory.product, rows: g.outputHeight * g.outputWidth, from: plan.filters,
      to: g.outputChannels)
    clock.lap(.products)
    applyOutputEpilogue(
      output, bias: bias, product: memory.product, productRowStride: g.outputWidth * g.outputChannels,
      offset: n * g.outputCount, rows: g.outputHeight, width: g.outputWidth, channels: g.outputChannels)
    clock.lap(.epilogue)
  }
}

/// Computes the gradients of the weight, the bias and the input for one microbatch.
///
/// - Parameters:
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: The operand of the forward pass.
///   - packed: The weight, as ``DirectPlan/packFlippedWeight(_:into:)`` writes it.
///   - outputGradient: dY, `NPQK`.
///   - weightGradient: dW, `RSCK`, overwritten.
///   - biasGradient: The sum of dY per channel, overwritten. If `nil`, there is no bias.
///   - inputGradient: The destination of the input gradient, overwritten. If `nil`, it is not computed.
///   - scratch: ``DirectScratch/count`` floats, overwritten.
///   - ticks: Where the time of each phase is added. If `nil`, it is not measured.
func directBackward(
  _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  packed: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
  weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>?,
  inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  var clock = PhaseClock(ticks)
  let g = geometry
  let plan = DirectPlan(g)
  let memory = DirectScratch(plan, at: scratch)
  memory.input.clear(channels: g.inputChannels)
  memory.outputGradient.clear(channels: g.outputChannels)
  biasGradient?.update(repeating: 0, count: g.outputChannels)
  inputGradient?.sums?.update(repeating: 0, count: 2 * g.inputChannels)
  let isPadded = plan.filters != g.outputChannels
  let target = isPadded ? memory.paddedWeightGradient : weightGradient
  for n in 0..<imageCount {
    applyInputPrologue(
      input, offset: n * g.inputCount, into: memory.input, channels: g.inputChannels)
    clock.lap(.inputPrologue)
    applyOutputGradientPrologue(
      outputGradient, offset: n * g.outputCount, into: memory.outputGradient,
      channels: g.outputChannels, biasGradient: biasGradient)
    clock.lap(.outputGradientPrologue)
    multiplyWeightGradient(plan, memory, into: target, accumulates: n > 0)
    clock.lap(.weightGradientProducts)
    guard let inputGradient else { continue }
    let isWhole = plan.channels == g.inputChannels
    let offset = n * g.inputCount
    let dZ = isWhole && isPlain(inputGradient, input) ? inputGradient.gradient + offset : memory.product
    multiplyPhases(plan, memory, packed, into: dZ)
    removeChannelPadding(dZ, rows: g.inputHeight * g.inputWidth, from: plan.channels, to: g.inputChannels)
    clock.lap(.products)
    applyInputGradientEpilogue(
      inputGradient, input: input,
      product: InputGradientProduct(start: dZ, rowStride: g.inputWidth * g.inputChannels), offset: offset,
      rows: g.inputHeight, width: g.inputWidth, channels: g.inputChannels)
    clock.lap(.epilogue)
  }
  if isPadded {
    removeChannelPadding(target, rows: plan.depth, from: plan.filters, to: g.outputChannels)
    weightGradient.update(from: target, count: g.weightCount)
  }
}

/// Computes dW (+)= the products of one image's input and output gradient, one row of taps at a time.
private func multiplyWeightGradient(
  _ plan: DirectPlan, _ memory: DirectScratch, into target: UnsafeMutablePointer<Float>,
  accumulates: Bool
) {
  let g = plan.geometry
  let rows = g.kernelSize * g.inputChannels
  let shape = GEMMShape(
    outerDepth: g.outputHeight, outerStrideA: g.stride * memory.input.rowStride,
    outerStrideB: memory.outputGradient.rowStride, depth: g.outputWidth, rowStrideA: 1,
    depthStrideA: g.stride * g.inputChannels, depthStrideB: plan.filters,
    rowStrideC: plan.filters, accumulates: accumulates)
  for r in 0..<g.kernelSize {
    PackedGEMM.multiply(
      shape, rows: rows, columns: plan.filters, memory.input.start + r * memory.input.rowStride,
      memory.outputGradient.row(0),
      panelStrideB: PackedGEMM.panelWidth(columns: plan.filters),
      target + r * rows * plan.filters)
  }
}

/// Computes dZ of one image, phase by phase: each input pixel is a product of the output gradients around it and the taps
/// that reach it.
private func multiplyPhases(
  _ plan: DirectPlan, _ memory: DirectScratch, _ packed: UnsafePointer<Float>,
  into target: UnsafeMutablePointer<Float>
) {
  let g = plan.geometry
  let gradient = memory.outputGradient
  let panel = PackedGEMM.panelWidth(columns: plan.channels)
  plan.forEachPhase { phaseRow, phaseColumn, offset in
    let (tapRows, tapColumns) = (plan.taps(phaseRow), plan.taps(phaseColumn))
    let depth = tapColumns * plan.filters
    let shape = GEMMShape(
      outerDepth: tapRows, outerStrideA: gradient.rowStride, outerStrideB: depth * panel,
      depth: depth, rowStrideA: plan.filters, depthStrideA: 1, depthStrideB: panel,
      rowStrideC: g.stride * plan.channels)
    let w = plan.firstPixel(phaseColumn)
    let q = plan.outputPosition(w, phase: phaseColumn) - (tapColumns - 1)
    for h in stride(from: plan.firstPixel(phaseRow), to: g.inputHeight, by: g.stride) {
      let p = plan.outputPosition(h, phase: phaseRow) - (tapRows - 1)
      PackedGEMM.multiply(
        shape, rows: max(0, (g.inputWidth - w + g.stride - 1) / g.stride),
        columns: plan.channels, gradient.row(p) + q * plan.filters, packed + offset,
        panelStrideB: tapRows * depth * panel,
        target + (h * g.inputWidth + w) * plan.channels)
    }
  }
}

/// Removes the channels that pad each row of a matrix, in place.
private func removeChannelPadding(
  _ rows: UnsafeMutablePointer<Float>, rows count: Int, from padded: Int, to channels: Int
) {
  guard padded != channels else { return }
  for row in 0..<count {
    (rows + row * channels).update(from: rows + row * padded, count: channels)
  }
}
