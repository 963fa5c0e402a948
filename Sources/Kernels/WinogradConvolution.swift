import Tensors

// 3×3 convolution of stride 1 by Winograd's F(4×4, 3×3): 36 products of matrices a unit instead of 144 multiplications a
// tile. See `docs/numerics.md` for its accuracy.

/// Computes y = conv(z, weight) + bias (+ addend) and its sums for one microbatch.
///
/// - Parameters:
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: x, `NHWC`, and how z comes from it.
///   - prepared: U, as ``transformKernel(_:_:into:)`` left it.
///   - bias: K numbers, or nil.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``WinogradMemory/count`` floats.
func winogradForward(
  _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
  scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = WinogradPlan(geometry, imageCount: imageCount)
  let memory = WinogradMemory(plan, at: scratch)
  for n in 0..<plan.imagesPerGroup { memory.input.advanced(by: n).clear(channels: channels) }
  output.sums?.update(repeating: 0, count: 2 * filters)
  plan.forEachGroup(imageCount: imageCount) { first, images in
    for n in 0..<images {
      writeInput(
        input, offset: (first + n) * geometry.inputCount, into: memory.input.advanced(by: n),
        channels: channels)
    }
    plan.forEachUnit(images: images) { unit in
      transformInput(unit, memory.input, into: memory.first)
      multiplyFrequencies(
        unit, memory.first, prepared, rows: channels, columns: filters, into: memory.second)
      transformOutput(unit, memory.second, channels: filters, into: memory.first)
      let rowCount = geometry.outputWidth * filters
      for n in 0..<unit.images {
        finishOutput(
          output, bias: bias, product: memory.first + n * unit.rows * rowCount,
          offset: (first + n) * geometry.outputCount + unit.firstRow * rowCount, rows: unit.rows,
          width: geometry.outputWidth, channels: filters)
      }
    }
  }
}

/// Computes the gradients of the kernel, the bias and the input for one microbatch.
///
/// - Parameters:
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: What the forward pass read.
///   - prepared: U and U′, as ``transformKernel(_:_:into:)`` left them.
///   - outputGradient: dY, `NPQK`.
///   - weightGradient: dW, `RSCK`, overwritten.
///   - biasGradient: The sum of dY per channel, overwritten; nil without a bias.
///   - inputGradient: Where the input's gradient goes, or nil.
///   - scratch: ``WinogradMemory/count`` floats.
func winogradBackward(
  _ geometry: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  prepared: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
  weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>?,
  inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = WinogradPlan(geometry, imageCount: imageCount)
  let memory = WinogradMemory(plan, at: scratch)
  for n in 0..<plan.imagesPerGroup {
    memory.input.advanced(by: n).clear(channels: channels)
    memory.outputGradient.advanced(by: n).clear(channels: filters)
  }
  biasGradient?.update(repeating: 0, count: filters)
  inputGradient?.sums?.update(repeating: 0, count: 2 * channels)
  let turned = prepared + WinogradPlan.frequencies * channels * filters
  let hasOneUnit = plan.hasOneUnit(imageCount: imageCount)
  var isFirst = true
  plan.forEachGroup(imageCount: imageCount) { first, images in
    for n in 0..<images {
      writeInput(
        input, offset: (first + n) * geometry.inputCount, into: memory.input.advanced(by: n),
        channels: channels)
      writeOutputGradient(
        outputGradient, offset: (first + n) * geometry.outputCount,
        into: memory.outputGradient.advanced(by: n), channels: filters, biasGradient: biasGradient)
    }
    plan.forEachUnit(images: images) { unit in
      transformInput(unit, memory.input, into: memory.first)
      transformGradient(unit, memory.outputGradient, into: memory.second)
      if hasOneUnit {
        kernelGradientByBlocks(unit, geometry, memory, into: weightGradient)
      } else {
        addKernelGradient(unit, geometry, memory, accumulates: !isFirst)
      }
      isFirst = false
      guard let inputGradient else { return }
      transformInput(unit, memory.outputGradient, into: memory.second)
      multiplyFrequencies(
        unit, memory.second, turned, rows: filters, columns: channels, into: memory.first)
      let rowCount = geometry.inputWidth * channels
      let offset = first * geometry.inputCount + unit.firstRow * rowCount
      let dZ = productTarget(inputGradient, input, offset: offset, orElse: memory.second)
      transformOutput(unit, memory.first, channels: channels, into: dZ)
      for n in 0..<unit.images {
        finishInputGradient(
          inputGradient, input: input, product: dZ + n * unit.rows * rowCount,
          offset: offset + n * geometry.inputCount, rows: unit.rows, width: geometry.inputWidth,
          channels: channels)
      }
    }
  }
  if !hasOneUnit {
    transformKernelGradient(
      memory.kernelGradient,
      frequencyStride: WinogradUnit.frequencyStride(rows: channels, columns: filters),
      rows: channels, columns: filters, into: weightGradient, geometry)
  }
}

/// M = V·U for each of the 36 frequencies: `[36, T, columns]` from `[36, T, rows]`.
private func multiplyFrequencies(
  _ unit: WinogradUnit, _ a: UnsafePointer<Float>, _ kernel: UnsafePointer<Float>, rows: Int,
  columns: Int, into c: UnsafeMutablePointer<Float>
) {
  let layout = TransformedKernelLayout(rows: rows, columns: columns)
  let product = TileProduct(
    depth: rows, rowStrideA: rows, depthStrideA: 1, depthStrideB: layout.panel,
    rowStrideC: columns)
  let strideA = WinogradUnit.frequencyStride(rows: unit.tiles, columns: rows)
  let strideC = WinogradUnit.frequencyStride(rows: unit.tiles, columns: columns)
  for f in 0..<WinogradPlan.frequencies {
    MatrixProduct.multiply(
      product, rows: unit.tiles, columns: columns, a + f * strideA,
      kernel + f * layout.frequencyStride, panelStrideB: layout.panelStride, c + f * strideC)
  }
}

/// dU (+)= VᵀD for each of the 36 frequencies.
private func addKernelGradient(
  _ unit: WinogradUnit, _ geometry: ConvolutionGeometry, _ memory: WinogradMemory,
  accumulates: Bool
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let strideU = WinogradUnit.frequencyStride(rows: channels, columns: filters)
  multiplyTransposed(
    unit, memory, from: (0, 0), rows: channels, columns: filters, geometry,
    into: memory.kernelGradient, frequencyStride: strideU, accumulates: accumulates)
}

/// dW = Gᵀ(VᵀD)G in blocks of 32 channels and 64 filters, so that dU stays in the second-level cache and is never whole.
private func kernelGradientByBlocks(
  _ unit: WinogradUnit, _ geometry: ConvolutionGeometry, _ memory: WinogradMemory,
  into weightGradient: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let columns = filters.isMultiple(of: 64) ? 64 : filters.isMultiple(of: 32) ? 32 : 16
  for k in stride(from: 0, to: filters, by: columns) {
    for c in stride(from: 0, to: channels, by: 32) {
      let rows = min(32, channels - c)
      let stride = WinogradUnit.frequencyStride(rows: rows, columns: columns)
      multiplyTransposed(
        unit, memory, from: (c, k), rows: rows, columns: columns, geometry,
        into: memory.kernelGradient, frequencyStride: stride, accumulates: false)
      transformKernelGradient(
        memory.kernelGradient, frequencyStride: stride, rows: rows, columns: columns,
        into: weightGradient + (c * filters + k), geometry)
    }
  }
}

/// VᵀD for each of the 36 frequencies and a block of channels and filters.
private func multiplyTransposed(
  _ unit: WinogradUnit, _ memory: WinogradMemory, from origin: (channel: Int, filter: Int),
  rows: Int, columns: Int, _ geometry: ConvolutionGeometry,
  into target: UnsafeMutablePointer<Float>, frequencyStride: Int, accumulates: Bool
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let product = TileProduct(
    depth: unit.tiles, rowStrideA: 1, depthStrideA: channels, depthStrideB: filters,
    rowStrideC: columns, accumulates: accumulates)
  let strideV = WinogradUnit.frequencyStride(rows: unit.tiles, columns: channels)
  let strideD = WinogradUnit.frequencyStride(rows: unit.tiles, columns: filters)
  for f in 0..<WinogradPlan.frequencies {
    MatrixProduct.multiply(
      product, rows: rows, columns: columns, memory.first + (f * strideV + origin.channel),
      memory.second + (f * strideD + origin.filter),
      panelStrideB: MatrixProduct.panelWidth(columns: columns), target + f * frequencyStride)
  }
}
