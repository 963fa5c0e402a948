import Tensors

// The forward and backward passes of every tiled algorithm.

/// Computes y = conv(z, weight) + bias (+ addend) and its sums for each microbatch of a range.
///
/// - Parameters:
///   - algorithm: An algorithm that supports the convolution.
///   - geometry: The convolution.
///   - microbatches: The images.
///   - input: x, `NHWC`, and the map from x to z.
///   - packed: U, as ``TiledAlgorithm/transformWeight(_:channel:_:into:)`` writes it.
///   - bias: K numbers. If `nil`, there is no bias.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``TiledScratch/count`` floats, overwritten.
///   - ticks: Where the time of each phase is added. If `nil`, it is not measured.
func tiledForward<Algorithm: TiledAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange,
  input: ConvolutionInput, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
  output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  var clock = PhaseClock(ticks)
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TiledPlan<Algorithm>(geometry, microbatches)
  let memory = TiledScratch(plan, at: scratch)
  for n in 0..<plan.blocking.imagesPerBlock {
    memory.input.advanced(by: n).clear(channels: channels)
  }
  output.sums?.update(repeating: 0, count: microbatches.microbatchCount * 2 * filters)
  plan.blocking.forEachImageBlock { images in
    applyInputPrologue(input, geometry, images, memory)
    clock.lap(.inputPrologue)
    var prefetcher = Prefetcher(
      geometry, input, output, images,
      steps: plan.blocking.tileBlocksPerImageBlock * Algorithm.weightMatrixCount)
    plan.blocking.forEachTileBlock(imageCount: images.images.count) { tiles in
      Algorithm.transformInput(tiles, memory.input, into: memory.stagingA)
      clock.lap(.inputTransform)
      multiplyPositions(
        plan, tiles, memory.stagingA, packed, rows: channels, columns: filters,
        into: memory.stagingB, &prefetcher)
      clock.lap(.products)
      Algorithm.transformOutput(tiles, memory.stagingB, channels: filters, into: memory.stagingA)
      clock.lap(.outputTransform)
      applyOutputEpilogue(output, bias: bias, geometry, images, tiles, product: memory.stagingA)
      clock.lap(.epilogue)
    }
  }
}

/// Computes the gradients of the weight, the bias and the input for each microbatch of a range.
///
/// - Parameters:
///   - algorithm: An algorithm that supports the convolution.
///   - geometry: The convolution.
///   - microbatches: The images.
///   - input: The operand of the forward pass.
///   - packed: U′, as ``TiledAlgorithm/transformFlippedWeight(_:channel:_:into:)`` writes it.
///   - outputGradient: dY, `NPQK`.
///   - parameterGradient: The destinations of dW and dB of each microbatch, overwritten. The second dW of a pair is added
///     as it is transformed, which costs nothing measurable: a core reads a cache line in any case before it writes.
///   - inputGradient: The destination of the input gradient, overwritten. If `nil`, it is not computed.
///   - scratch: ``TiledScratch/count`` floats, overwritten.
///   - ticks: Where the time of each phase is added. If `nil`, it is not measured.
func tiledBackward<Algorithm: TiledAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange,
  input: ConvolutionInput, packed: UnsafePointer<Float>,
  outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
  inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  var clock = PhaseClock(ticks)
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TiledPlan<Algorithm>(geometry, microbatches)
  let memory = TiledScratch(plan, at: scratch)
  for n in 0..<plan.blocking.imagesPerBlock {
    memory.input.advanced(by: n).clear(channels: channels)
    memory.outputGradient.advanced(by: n).clear(channels: filters)
  }
  for m in 0..<microbatches.microbatchCount {
    parameterGradient.bias(m, geometry)?.update(repeating: 0, count: filters)
  }
  inputGradient?.sums?.update(repeating: 0, count: microbatches.microbatchCount * 2 * channels)
  plan.blocking.forEachImageBlock { images in
    applyInputPrologue(input, geometry, images, memory)
    clock.lap(.inputPrologue)
    applyOutputGradientPrologue(outputGradient, parameterGradient, geometry, images, memory)
    clock.lap(.outputGradientPrologue)
    var prefetcher = Prefetcher(
      geometry, input, outputGradient, inputGradient, images,
      steps: plan.blocking.tileBlocksPerImageBlock * Algorithm.weightMatrixCount * (inputGradient == nil ? 1 : 2))
    plan.blocking.forEachTileBlock(imageCount: images.images.count) { tiles in
      // One microbatch at a time, so that the operands of its weight gradient stay in the L2 cache.
      for m in images.microbatchIndices {
        let range = images.images(of: m)
        let block = tiles.prefix(imageCount: range.count)
        let offset = range.lowerBound - images.images.lowerBound
        Algorithm.transformInput(block, memory.input.advanced(by: offset), into: memory.stagingA)
        clock.lap(.inputTransform)
        Algorithm.transformOutputGradient(
          block, memory.outputGradient.advanced(by: offset), into: memory.stagingB)
        clock.lap(.outputGradientTransform)
        plan.weightGradientBlocking.forEachBlock { weights in
          multiplyWeightGradient(
            block, memory, weights, geometry,
            accumulates: !images.beginsMicrobatch || tiles.firstTileRow > 0, &prefetcher)
          clock.lap(.weightGradientProducts)
          if plan.blocking.coversMicrobatch {
            Algorithm.inverseTransformWeightGradient(
              memory.transformedWeightGradient, weights, into: parameterGradient.weightSum(m), geometry)
            clock.lap(.weightGradientTransform)
          }
        }
      }
      guard let inputGradient else { return }
      Algorithm.transformOutputGradientWindow(tiles, memory.outputGradient, into: memory.stagingB)
      clock.lap(.windowTransform)
      multiplyPositions(
        plan, tiles, memory.stagingB, packed, rows: filters, columns: channels,
        into: memory.stagingA, &prefetcher)
      clock.lap(.products)
      let firstRow = Algorithm.stride * tiles.firstRow
      let offset = images.images.lowerBound * geometry.inputCount + firstRow * geometry.inputWidth * channels
      let dZ =
        plan.hasWholeTiles && isPlain(inputGradient, input) ? inputGradient.gradient + offset : memory.stagingB
      Algorithm.transformInputGradient(
        tiles, memory.stagingA, channels: channels, geometry, into: dZ)
      clock.lap(.outputTransform)
      applyInputGradientEpilogue(
        inputGradient, input, geometry, images, product: dZ, tiles, step: 4 * Algorithm.stride)
      clock.lap(.epilogue)
    }
    guard !plan.blocking.coversMicrobatch, images.endsMicrobatch else { return }
    let weightGradient = parameterGradient.weightSum(images.microbatchIndices.lowerBound)
    plan.weightGradientBlocking.forEachBlock {
      Algorithm.inverseTransformWeightGradient(memory.transformedWeightGradient, $0, into: weightGradient, geometry)
    }
    clock.lap(.weightGradientTransform)
  }
}

/// Computes M = V·U or E·U′ at every position: `[positions, T, columns]` from `[positions, T, rows]`.
private func multiplyPositions<Algorithm: TiledAlgorithm>(
  _ plan: TiledPlan<Algorithm>, _ tiles: TileBlock, _ a: UnsafePointer<Float>, _ weight: UnsafePointer<Float>,
  rows: Int, columns: Int, into c: UnsafeMutablePointer<Float>, _ prefetcher: inout Prefetcher
) {
  let layout = PackedWeightLayout(rows: rows, columns: columns)
  let shape = GEMMShape(
    depth: rows, rowStrideA: rows, depthStrideA: 1, depthStrideB: layout.panel,
    rowStrideC: columns)
  let strideA = TileBlock.positionStride(rows: tiles.tiles, columns: rows)
  let strideC = TileBlock.positionStride(rows: tiles.tiles, columns: columns)
  for matrix in 0..<Algorithm.weightMatrixCount {
    prefetcher.advance()
    let positions = Algorithm.positions(of: matrix)
    for f in positions.first..<positions.first + positions.count {
      let (a, b, c) = (a + f * strideA, weight + matrix * layout.matrixStride, c + f * strideC)
      if plan.streamsWeight {
        PackedGEMM.multiplyPrefetching(shape, rows: tiles.tiles, columns: columns, a, b, c)
      } else {
        PackedGEMM.multiply(
          shape, rows: tiles.tiles, columns: columns, a, b, panelStrideB: layout.panelStride, c)
      }
    }
  }
}

/// Computes a block of dU (+)= VᵀD for each matrix, summed over the positions that share the matrix.
private func multiplyWeightGradient<Algorithm: TiledAlgorithm>(
  _ tiles: TileBlock, _ memory: TiledScratch<Algorithm>, _ block: WeightGradientBlock,
  _ geometry: ConvolutionGeometry, accumulates: Bool, _ prefetcher: inout Prefetcher
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let strideV = TileBlock.positionStride(rows: tiles.tiles, columns: channels)
  let strideD = TileBlock.positionStride(rows: tiles.tiles, columns: filters)
  for matrix in 0..<Algorithm.weightMatrixCount {
    prefetcher.advance()
    let positions = Algorithm.positions(of: matrix)
    let shape = GEMMShape(
      outerDepth: positions.count, outerStrideA: strideV, outerStrideB: strideD,
      depth: tiles.tiles, rowStrideA: 1, depthStrideA: channels, depthStrideB: filters,
      rowStrideC: block.columns, accumulates: accumulates)
    PackedGEMM.multiply(
      shape, rows: block.rows, columns: block.columns,
      memory.stagingA + (positions.first * strideV + block.channel),
      memory.stagingB + (positions.first * strideD + block.filter),
      panelStrideB: PackedGEMM.panelWidth(columns: block.columns),
      memory.transformedWeightGradient + matrix * block.matrixStride)
  }
}

// The prologues and epilogues of all images of an image block, each with the operands of its microbatch.

private func applyInputPrologue<Algorithm: TiledAlgorithm>(
  _ input: ConvolutionInput, _ g: ConvolutionGeometry, _ images: ImageBlock,
  _ memory: TiledScratch<Algorithm>
) {
  images.forEachImage { m, n, index in
    applyInputPrologue(
      input.microbatch(m, of: images.microbatches, g), offset: n * g.inputCount,
      into: memory.input.advanced(by: index), channels: g.inputChannels)
  }
}

private func applyOutputGradientPrologue<Algorithm: TiledAlgorithm>(
  _ outputGradient: ConvolutionOutputGradient, _ parameterGradient: ConvolutionParameterGradient,
  _ g: ConvolutionGeometry, _ images: ImageBlock, _ memory: TiledScratch<Algorithm>
) {
  images.forEachImage { m, n, index in
    applyOutputGradientPrologue(
      outputGradient.microbatch(m, of: images.microbatches, g), offset: n * g.outputCount,
      into: memory.outputGradient.advanced(by: index), channels: g.outputChannels,
      biasGradient: parameterGradient.bias(m, g))
  }
}

private func applyOutputEpilogue(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, _ g: ConvolutionGeometry,
  _ images: ImageBlock, _ tiles: TileBlock, product: UnsafePointer<Float>
) {
  let rowCount = g.outputWidth * g.outputChannels
  let productRowStride = 4 * tiles.tileColumns * g.outputChannels
  images.forEachImage { m, n, index in
    applyOutputEpilogue(
      output.microbatch(m, of: images.microbatches, g), bias: bias,
      product: product + index * tiles.rows * productRowStride, productRowStride: productRowStride,
      offset: n * g.outputCount + tiles.firstRow * rowCount, rows: min(tiles.rows, g.outputHeight - tiles.firstRow),
      width: g.outputWidth, channels: g.outputChannels)
  }
}

/// Applies the epilogue to the rows of dZ of a tile block, whose tiles have `step` rows and columns of input pixels.
private func applyInputGradientEpilogue(
  _ target: ConvolutionInputGradient, _ input: ConvolutionInput, _ g: ConvolutionGeometry,
  _ images: ImageBlock, product: UnsafePointer<Float>, _ tiles: TileBlock, step: Int
) {
  let firstRow = step * tiles.firstTileRow
  let rowStride = step * tiles.tileColumns * g.inputChannels
  images.forEachImage { m, n, index in
    applyInputGradientEpilogue(
      target.microbatch(m, of: images.microbatches, g), input: input.microbatch(m, of: images.microbatches, g),
      product: InputGradientProduct(
        start: product + index * step * tiles.tileRows * rowStride, rowStride: rowStride),
      offset: n * g.inputCount + firstRow * g.inputWidth * g.inputChannels,
      rows: min(step * tiles.tileRows, g.inputHeight - firstRow), width: g.inputWidth, channels: g.inputChannels)
  }
}
