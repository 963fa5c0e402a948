import Tensors

// The forward and backward passes of pointwise convolutions.

/// Computes y = z·weight + bias (+ addend) and its sums for each microbatch of a range.
///
/// - Parameters:
///   - geometry: A convolution that ``PointwisePlan`` supports.
///   - microbatches: The images.
///   - input: x, `NHWC`, the map from x to z, and the dropout mask.
///   - packed: The weight, as ``PointwisePlan/packWeight(_:channel:_:into:)`` writes it.
///   - bias: K numbers. If `nil`, there is no bias.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``PointwiseScratch/count`` floats, overwritten.
///   - ticks: Where the time of each phase is added. If `nil`, it is not measured.
func pointwiseForward(
  _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
  packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
  scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  var clock = PhaseClock(ticks)
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = PointwisePlan(geometry, microbatches)
  let memory = PointwiseScratch(plan, at: scratch)
  output.sums?.update(repeating: 0, count: microbatches.microbatchCount * 2 * filters)
  plan.blocking.forEachImageBlock { images in
    plan.blocking.forEachTileBlock(imageCount: images.images.count) { pixels in
      let z = inputMatrix(plan, images, pixels, input, memory)
      clock.lap(.inputPrologue)
      let rowCount = geometry.outputWidth * filters
      let target =
        output.activation + (images.images.lowerBound * geometry.outputCount + pixels.firstTileRow * rowCount)
      // Stores to y overlap with products, those of an epilogue do not: through scratch memory, forward passes of 64
      // channels took 14 % longer.
      let product = output.addend == UnsafePointer(output.activation) ? memory.product : target
      multiply(pixels: pixels.tiles, z, packed, rows: channels, columns: filters, into: product, pixelStride: filters)
      clock.lap(.products)
      images.forEachImage { m, n, index in
        applyOutputEpilogue(
          output.microbatch(m, of: microbatches, geometry), bias: bias,
          product: product + index * pixels.tileRows * rowCount, productRowStride: rowCount,
          offset: n * geometry.outputCount + pixels.firstTileRow * rowCount, rows: pixels.tileRows,
          width: geometry.outputWidth, channels: filters)
      }
      clock.lap(.epilogue)
    }
  }
}

/// Computes the gradients of the weight, the bias and the input for each microbatch of a range.
///
/// - Parameters:
///   - geometry: A convolution that ``PointwisePlan`` supports.
///   - microbatches: The images.
///   - input: The operand of the forward pass.
///   - packed: The weight, as ``PointwisePlan/packFlippedWeight(_:channel:_:into:)`` writes it.
///   - outputGradient: dY, `NPQK`.
///   - parameterGradient: The destinations of dW and dB of each microbatch, overwritten; pairs are not summed.
///   - inputGradient: The destination of the input gradient, overwritten. If `nil`, it is not computed.
///   - scratch: ``PointwiseScratch/count`` floats, overwritten.
///   - ticks: Where the time of each phase is added. If `nil`, it is not measured.
func pointwiseBackward(
  _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
  packed: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
  parameterGradient: ConvolutionParameterGradient, inputGradient: ConvolutionInputGradient?,
  scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  var clock = PhaseClock(ticks)
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = PointwisePlan(geometry, microbatches)
  let memory = PointwiseScratch(plan, at: scratch)
  for m in 0..<microbatches.microbatchCount {
    parameterGradient.bias(m, geometry)?.update(repeating: 0, count: filters)
  }
  inputGradient?.sums?.update(repeating: 0, count: microbatches.microbatchCount * 2 * channels)
  if geometry.stride > 1 && inputGradient != nil {
    // Products write every stride-th pixel; the others stay zero.
    memory.product.update(repeating: 0, count: plan.blocking.tilesPerBlock * geometry.stride * channels)
    memory.zeros.update(repeating: 0, count: geometry.inputWidth * channels)
  }
  plan.blocking.forEachImageBlock { images in
    plan.blocking.forEachTileBlock(imageCount: images.images.count) { pixels in
      let z = inputMatrix(plan, images, pixels, input, memory)
      clock.lap(.inputPrologue)
      let dY = outputGradientMatrix(plan, images, pixels, outputGradient, parameterGradient, memory)
      clock.lap(.outputGradientPrologue)
      for m in images.microbatchIndices {
        let range = images.images(of: m)
        let first = (range.lowerBound - images.images.lowerBound) * pixels.tileRows * pixels.tileColumns
        multiplyWeightGradient(
          pixels: range.count * pixels.tileRows * pixels.tileColumns, z + first * channels, dY + first * filters,
          channels: channels, filters: filters, into: parameterGradient.weight(m),
          accumulates: range.lowerBound != microbatches.images(of: m).lowerBound || pixels.firstTileRow > 0)
      }
      clock.lap(.weightGradientProducts)
      guard let inputGradient else { return }
      let start = pixels.firstTileRow * plan.source.rowStride
      let isInPlace = geometry.stride == 1 && inputGradient.addend != UnsafePointer(inputGradient.gradient)
      let dZ =
        isInPlace
        ? inputGradient.gradient + (images.images.lowerBound * geometry.inputCount + start) : memory.product
      multiply(
        pixels: pixels.tiles, dY, packed, rows: filters, columns: channels, into: dZ,
        pixelStride: geometry.stride * channels)
      clock.lap(.products)
      applyInputGradientEpilogue(plan, images, pixels, inputGradient, input, product: dZ, zeros: memory.zeros)
      clock.lap(.epilogue)
    }
  }
}

/// Computes `[T, columns]` from `[T, rows]` and a packed weight, with `pixelStride` floats from one pixel to the next.
private func multiply(
  pixels: Int, _ a: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, rows: Int, columns: Int,
  into c: UnsafeMutablePointer<Float>, pixelStride: Int
) {
  let layout = PackedWeightLayout(rows: rows, columns: columns)
  let shape = GEMMShape(
    depth: rows, rowStrideA: rows, depthStrideA: 1, depthStrideB: layout.panel, rowStrideC: pixelStride)
  PackedGEMM.multiply(shape, rows: pixels, columns: columns, a, weight, panelStrideB: layout.panelStride, c)
}

/// Computes dW (+)= zᵀ·dY, in blocks of 128 pixels.
///
/// A block's panel of dY stays in the L1 cache, and the error of a block's sum is that of a short chain.
private func multiplyWeightGradient(
  pixels: Int, _ z: UnsafePointer<Float>, _ dY: UnsafePointer<Float>, channels: Int, filters: Int,
  into weightGradient: UnsafeMutablePointer<Float>, accumulates: Bool
) {
  let panel = PackedGEMM.panelWidth(columns: filters)
  let length = 128
  for first in stride(from: 0, to: pixels, by: length) {
    let shape = GEMMShape(
      depth: min(length, pixels - first), rowStrideA: 1, depthStrideA: channels, depthStrideB: filters,
      rowStrideC: filters, addsToC: accumulates || first > 0)
    PackedGEMM.multiply(
      shape, rows: channels, columns: filters, z + first * channels, dY + first * filters, panelStrideB: panel,
      weightGradient)
  }
}

/// Returns z of a block of pixels, `[T, C]`: x itself where it is that matrix already.
private func inputMatrix(
  _ plan: PointwisePlan, _ images: ImageBlock, _ pixels: TileBlock, _ input: ConvolutionInput,
  _ memory: PointwiseScratch
) -> UnsafePointer<Float> {
  let g = plan.geometry
  let start = pixels.firstTileRow * plan.source.rowStride
  if g.stride == 1 && input.normalization == nil {
    return input.activation + (images.images.lowerBound * g.inputCount + start)
  }
  images.forEachImage { m, n, index in
    let matrix = PaddedImage(
      start: memory.input + index * pixels.tileRows * g.outputWidth * g.inputChannels, height: pixels.tileRows,
      width: g.outputWidth, pixelStride: g.inputChannels, border: .none)
    applyInputPrologue(
      input.microbatch(m, of: images.microbatches, g), offset: n * g.inputCount + start, into: matrix,
      channels: g.inputChannels, from: plan.source)
  }
  return UnsafePointer(memory.input)
}

/// Returns dY of a block of pixels, `[T, K]`: g itself where it is that matrix already.
private func outputGradientMatrix(
  _ plan: PointwisePlan, _ images: ImageBlock, _ pixels: TileBlock, _ outputGradient: ConvolutionOutputGradient,
  _ parameterGradient: ConvolutionParameterGradient, _ memory: PointwiseScratch
) -> UnsafePointer<Float> {
  let g = plan.geometry
  let rowCount = g.outputWidth * g.outputChannels
  let start = pixels.firstTileRow * rowCount
  if outputGradient.normalization == nil && outputGradient.addend == nil && outputGradient.savedGradient == nil
    && !parameterGradient.hasBias
  {
    return outputGradient.gradient + (images.images.lowerBound * g.outputCount + start)
  }
  images.forEachImage { m, n, index in
    let matrix = PaddedImage(
      start: memory.outputGradient + index * pixels.tileRows * rowCount, height: pixels.tileRows, width: g.outputWidth,
      pixelStride: g.outputChannels, border: .none)
    applyOutputGradientPrologue(
      outputGradient.microbatch(m, of: images.microbatches, g), offset: n * g.outputCount + start, into: matrix,
      channels: g.outputChannels, biasGradient: parameterGradient.bias(m, g))
  }
  return UnsafePointer(memory.outputGradient)
}

/// Writes the input gradient of the rows of pixels that a block reads, and of the rows in between.
private func applyInputGradientEpilogue(
  _ plan: PointwisePlan, _ images: ImageBlock, _ pixels: TileBlock, _ target: ConvolutionInputGradient,
  _ input: ConvolutionInput, product: UnsafePointer<Float>, zeros: UnsafePointer<Float>
) {
  let (g, stride) = (plan.geometry, plan.geometry.stride)
  let rowStride = g.outputWidth * stride * g.inputChannels
  let firstRow = pixels.firstTileRow * stride
  images.forEachImage { m, n, index in
    let (target, input) = (
      target.microbatch(m, of: images.microbatches, g), input.microbatch(m, of: images.microbatches, g)
    )
    for phase in 0..<stride {
      let product =
        phase == 0
        ? InputGradientProduct(start: product + index * pixels.tileRows * rowStride, rowStride: rowStride)
        : InputGradientProduct(start: zeros, rowStride: 0)
      let row = firstRow + phase
      let rows = min(pixels.tileRows, (g.inputHeight - row + stride - 1) / stride)
      let (offset, rowCount) = (n * g.inputCount + row * g.inputWidth * g.inputChannels, g.inputWidth * g.inputChannels)
      if phase > 0 && target.addend == nil {
        // Without an addend these rows are 0 and add nothing to the sums.
        for r in 0..<rows { (target.gradient + (offset + r * stride * rowCount)).update(repeating: 0, count: rowCount) }
        continue
      }
      applyInputGradientEpilogue(
        target, input: input, product: product, offset: offset, rowStep: stride, rows: rows, width: g.inputWidth,
        channels: g.inputChannels)
    }
  }
}
