import Tensors

// Forward and backward passes of every tile algorithm.

/// Computes y = conv(z, weight) + bias (+ addend) and its sums for one microbatch.
///
/// - Parameters:
///   - algorithm: What handles the convolution.
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: x, `NHWC`, and how z comes from it.
///   - prepared: U, as the algorithm's `transformKernel` leaves it.
///   - bias: K numbers, or nil.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``TileMemory/count`` floats.
func transformedForward<Algorithm: TileAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, imageCount: Int,
  input: ConvolutionInput, prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
  output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TransformPlan<Algorithm>(geometry, imageCount: imageCount)
  let memory = TileMemory(plan, at: scratch)
  for n in 0..<plan.tiles.imagesPerGroup {
    memory.input.advanced(by: n).clear(channels: channels)
  }
  output.sums?.update(repeating: 0, count: 2 * filters)
  plan.tiles.forEachGroup(imageCount: imageCount) { group in
    let (first, images) = (group.images.lowerBound, group.images.count)
    for n in 0..<images {
      writeInput(
        input, offset: (first + n) * geometry.inputCount, into: memory.input.advanced(by: n),
        channels: channels)
    }
    var prefetch = Prefetch(
      geometry, input, output, group: group, parts: plan.tiles.unitsPerGroup * Algorithm.matrices)
    plan.tiles.forEachUnit(images: images) { unit in
      Algorithm.transformInput(unit, memory.input, into: memory.first)
      multiplyPositions(
        Algorithm.self, unit, memory.first, prepared, rows: channels, columns: filters,
        into: memory.second, &prefetch)
      Algorithm.transformOutput(unit, memory.second, channels: filters, into: memory.first)
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
///   - algorithm: What handles the convolution.
///   - geometry: The convolution.
///   - imageCount: N.
///   - input: What the forward pass read.
///   - prepared: U′, as the algorithm's `transformTurnedKernel` leaves it.
///   - outputGradient: dY, `NPQK`.
///   - weightGradient: dW, `RSCK`, overwritten.
///   - biasGradient: The sum of dY per channel, overwritten; nil without a bias.
///   - inputGradient: Where the input's gradient goes, or nil.
///   - scratch: ``TileMemory/count`` floats.
func transformedBackward<Algorithm: TileAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, imageCount: Int,
  input: ConvolutionInput, prepared: UnsafePointer<Float>,
  outputGradient: ConvolutionOutputGradient, weightGradient: UnsafeMutablePointer<Float>,
  biasGradient: UnsafeMutablePointer<Float>?, inputGradient: ConvolutionInputGradient?,
  scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TransformPlan<Algorithm>(geometry, imageCount: imageCount)
  let memory = TileMemory(plan, at: scratch)
  for n in 0..<plan.tiles.imagesPerGroup {
    memory.input.advanced(by: n).clear(channels: channels)
    memory.outputGradient.advanced(by: n).clear(channels: filters)
  }
  biasGradient?.update(repeating: 0, count: filters)
  inputGradient?.sums?.update(repeating: 0, count: 2 * channels)
  var isFirst = true
  plan.tiles.forEachGroup(imageCount: imageCount) { group in
    let (first, images) = (group.images.lowerBound, group.images.count)
    for n in 0..<images {
      writeInput(
        input, offset: (first + n) * geometry.inputCount, into: memory.input.advanced(by: n),
        channels: channels)
      writeOutputGradient(
        outputGradient, offset: (first + n) * geometry.outputCount,
        into: memory.outputGradient.advanced(by: n), channels: filters, biasGradient: biasGradient)
    }
    var prefetch = Prefetch(
      geometry, input, outputGradient, inputGradient, group: group,
      parts: plan.tiles.unitsPerGroup * Algorithm.matrices * (inputGradient == nil ? 1 : 2))
    plan.tiles.forEachUnit(images: images) { unit in
      Algorithm.transformInput(unit, memory.input, into: memory.first)
      Algorithm.transformGradient(unit, memory.outputGradient, into: memory.second)
      plan.blocks.forEachBlock { block in
        multiplyTransposed(unit, memory, block, geometry, accumulates: !isFirst, &prefetch)
        if plan.hasOneUnit {
          Algorithm.transformKernelGradient(
            memory.kernelGradient, block, into: weightGradient, geometry)
        }
      }
      isFirst = false
      guard let inputGradient else { return }
      Algorithm.transformGradientWindow(unit, memory.outputGradient, into: memory.second)
      multiplyPositions(
        Algorithm.self, unit, memory.second, prepared, rows: filters, columns: channels,
        into: memory.first, &prefetch)
      let rowCount = geometry.inputWidth * channels
      let rows = Algorithm.stride * unit.rows
      let offset =
        first * geometry.inputCount + Algorithm.stride * unit.firstRow * rowCount
      let dZ = productTarget(inputGradient, input, offset: offset, orElse: memory.second)
      Algorithm.transformInputGradient(
        unit, memory.first, channels: channels, geometry, into: dZ)
      for n in 0..<unit.images {
        finishInputGradient(
          inputGradient, input: input, product: dZ + n * rows * rowCount,
          offset: offset + n * geometry.inputCount, rows: rows, width: geometry.inputWidth,
          channels: channels)
      }
    }
  }
  guard !plan.hasOneUnit else { return }
  plan.blocks.forEachBlock {
    Algorithm.transformKernelGradient(memory.kernelGradient, $0, into: weightGradient, geometry)
  }
}

/// M = V·U at every position: `[positions, T, columns]` from `[positions, T, rows]`.
private func multiplyPositions<Algorithm: TileAlgorithm>(
  _: Algorithm.Type, _ unit: TileUnit, _ a: UnsafePointer<Float>, _ kernel: UnsafePointer<Float>,
  rows: Int, columns: Int, into c: UnsafeMutablePointer<Float>, _ prefetch: inout Prefetch
) {
  let layout = TransformedKernelLayout(rows: rows, columns: columns)
  let product = TileProduct(
    depth: rows, rowStrideA: rows, depthStrideA: 1, depthStrideB: layout.panel,
    rowStrideC: columns)
  let strideA = TileUnit.frequencyStride(rows: unit.tiles, columns: rows)
  let strideC = TileUnit.frequencyStride(rows: unit.tiles, columns: columns)
  for matrix in 0..<Algorithm.matrices {
    prefetch.advance()
    let positions = Algorithm.positions(of: matrix)
    for f in positions.first..<positions.first + positions.count {
      MatrixProduct.multiply(
        product, rows: unit.tiles, columns: columns, a + f * strideA,
        kernel + matrix * layout.frequencyStride, panelStrideB: layout.panelStride, c + f * strideC)
    }
  }
}

/// dU (+)= VᵀD for each matrix and a block of channels and filters, summed over the positions that share the matrix.
private func multiplyTransposed<Algorithm: TileAlgorithm>(
  _ unit: TileUnit, _ memory: TileMemory<Algorithm>, _ block: KernelBlock,
  _ geometry: ConvolutionGeometry, accumulates: Bool, _ prefetch: inout Prefetch
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let strideV = TileUnit.frequencyStride(rows: unit.tiles, columns: channels)
  let strideD = TileUnit.frequencyStride(rows: unit.tiles, columns: filters)
  for matrix in 0..<Algorithm.matrices {
    prefetch.advance()
    let positions = Algorithm.positions(of: matrix)
    let product = TileProduct(
      segments: positions.count, segmentStrideA: strideV, segmentStrideB: strideD,
      depth: unit.tiles, rowStrideA: 1, depthStrideA: channels, depthStrideB: filters,
      rowStrideC: block.columns, accumulates: accumulates)
    MatrixProduct.multiply(
      product, rows: block.rows, columns: block.columns,
      memory.first + (positions.first * strideV + block.channel),
      memory.second + (positions.first * strideD + block.filter),
      panelStrideB: MatrixProduct.panelWidth(columns: block.columns),
      memory.kernelGradient + matrix * block.frequencyStride)
  }
}
