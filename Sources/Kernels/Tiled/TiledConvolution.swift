import Tensors

// Forward and backward passes of every tile algorithm.

/// Computes y = conv(z, weight) + bias (+ addend) and its sums for each microbatch of a span.
///
/// - Parameters:
///   - algorithm: What handles the convolution.
///   - geometry: The convolution.
///   - microbatches: N, and which images are a microbatch.
///   - input: x, `NHWC`, and how z comes from it.
///   - packed: U, as the algorithm's `transformWeight` leaves it.
///   - bias: K numbers, or nil.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``TiledScratch/count`` floats.
func tiledForward<Algorithm: TiledAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange,
  input: ConvolutionInput, packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
  output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TiledPlan<Algorithm>(geometry, microbatches)
  let memory = TiledScratch(plan, at: scratch)
  for n in 0..<plan.tiles.imagesPerGroup {
    memory.input.advanced(by: n).clear(channels: channels)
  }
  output.sums?.update(repeating: 0, count: microbatches.microbatchCount * 2 * filters)
  plan.tiles.forEachGroup { group in
    applyInputPrologue(input, geometry, group, memory)
    var prefetch = Prefetcher(
      geometry, input, output, group: group, parts: plan.tiles.unitsPerGroup * Algorithm.matrices)
    plan.tiles.forEachUnit(images: group.images.count) { unit in
      Algorithm.transformInput(unit, memory.input, into: memory.first)
      multiplyPositions(
        plan, unit, memory.first, packed, rows: channels, columns: filters,
        into: memory.second, &prefetch)
      Algorithm.transformOutput(unit, memory.second, channels: filters, into: memory.first)
      applyOutputEpilogue(output, bias: bias, geometry, group, unit, product: memory.first)
    }
  }
}

/// Computes the gradients of the kernel, the bias and the input for each microbatch of a span.
///
/// - Parameters:
///   - algorithm: What handles the convolution.
///   - geometry: The convolution.
///   - microbatches: N, and which images are a microbatch.
///   - input: What the forward pass read.
///   - packed: U′, as the algorithm's `transformFlippedWeight` leaves it.
///   - outputGradient: dY, `NPQK`.
///   - parameterGradient: Where dW and dB of each microbatch go.
///   - inputGradient: Where the input's gradient goes, or nil.
///   - scratch: ``TiledScratch/count`` floats.
func tiledBackward<Algorithm: TiledAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, _ microbatches: MicrobatchRange,
  input: ConvolutionInput, packed: UnsafePointer<Float>,
  outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
  inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TiledPlan<Algorithm>(geometry, microbatches)
  let memory = TiledScratch(plan, at: scratch)
  for n in 0..<plan.tiles.imagesPerGroup {
    memory.input.advanced(by: n).clear(channels: channels)
    memory.outputGradient.advanced(by: n).clear(channels: filters)
  }
  for m in 0..<microbatches.microbatchCount {
    parameterGradient.bias(m, geometry)?.update(repeating: 0, count: filters)
  }
  inputGradient?.sums?.update(repeating: 0, count: microbatches.microbatchCount * 2 * channels)
  plan.tiles.forEachGroup { group in
    applyInputPrologue(input, geometry, group, memory)
    applyOutputGradientPrologue(outputGradient, parameterGradient, geometry, group, memory)
    var prefetch = Prefetcher(
      geometry, input, outputGradient, inputGradient, group: group,
      parts: plan.tiles.unitsPerGroup * Algorithm.matrices * (inputGradient == nil ? 1 : 2))
    plan.tiles.forEachUnit(images: group.images.count) { unit in
      // A microbatch at a time: what is at work for its kernel's gradient had better stay in the second-level cache.
      for m in group.microbatchIndices {
        let images = group.images(of: m)
        let part = unit.part(images: images.count)
        let offset = images.lowerBound - group.images.lowerBound
        Algorithm.transformInput(part, memory.input.advanced(by: offset), into: memory.first)
        Algorithm.transformOutputGradient(
          part, memory.outputGradient.advanced(by: offset), into: memory.second)
        plan.blocks.forEachBlock { block in
          multiplyTransposingB(
            part, memory, block, geometry,
            accumulates: !group.beginsMicrobatch || unit.firstTileRow > 0, &prefetch)
          if plan.tiles.coversMicrobatch {
            Algorithm.inverseTransformWeightGradient(
              memory.kernelGradient, block, into: parameterGradient.weight(m), geometry)
          }
        }
      }
      guard let inputGradient else { return }
      Algorithm.transformOutputGradientWindow(unit, memory.outputGradient, into: memory.second)
      multiplyPositions(
        plan, unit, memory.second, packed, rows: filters, columns: channels,
        into: memory.first, &prefetch)
      let start = Algorithm.stride * unit.firstRow * geometry.inputWidth * channels
      let dZ = inPlaceTarget(
        inputGradient, input, offset: group.images.lowerBound * geometry.inputCount + start,
        orElse: memory.second)
      Algorithm.transformInputGradient(
        unit, memory.first, channels: channels, geometry, into: dZ)
      applyInputGradientEpilogue(
        inputGradient, input, geometry, group, product: dZ, start: start,
        rows: Algorithm.stride * unit.rows)
    }
    guard !plan.tiles.coversMicrobatch, group.endsMicrobatch else { return }
    let weightGradient = parameterGradient.weight(group.microbatchIndices.lowerBound)
    plan.blocks.forEachBlock {
      Algorithm.inverseTransformWeightGradient(memory.kernelGradient, $0, into: weightGradient, geometry)
    }
  }
}

/// M = V·U at every position: `[positions, T, columns]` from `[positions, T, rows]`.
private func multiplyPositions<Algorithm: TiledAlgorithm>(
  _ plan: TiledPlan<Algorithm>, _ unit: TileBlock, _ a: UnsafePointer<Float>, _ kernel: UnsafePointer<Float>,
  rows: Int, columns: Int, into c: UnsafeMutablePointer<Float>, _ prefetch: inout Prefetcher
) {
  let layout = PackedWeightLayout(rows: rows, columns: columns)
  let product = GEMMShape(
    depth: rows, rowStrideA: rows, depthStrideA: 1, depthStrideB: layout.panel,
    rowStrideC: columns)
  let strideA = TileBlock.positionStride(rows: unit.tiles, columns: rows)
  let strideC = TileBlock.positionStride(rows: unit.tiles, columns: columns)
  for matrix in 0..<Algorithm.matrices {
    prefetch.advance()
    let positions = Algorithm.positions(of: matrix)
    for f in positions.first..<positions.first + positions.count {
      let (a, b, c) = (a + f * strideA, kernel + matrix * layout.positionStride, c + f * strideC)
      if plan.streamsKernel {
        PackedGEMM.multiplyPrefetching(product, rows: unit.tiles, columns: columns, a, b, c)
      } else {
        PackedGEMM.multiply(
          product, rows: unit.tiles, columns: columns, a, b, panelStrideB: layout.panelStride, c)
      }
    }
  }
}

/// dU (+)= VᵀD for each matrix and a block of channels and filters, summed over the positions that share the matrix.
private func multiplyTransposingB<Algorithm: TiledAlgorithm>(
  _ unit: TileBlock, _ memory: TiledScratch<Algorithm>, _ block: WeightGradientBlock,
  _ geometry: ConvolutionGeometry, accumulates: Bool, _ prefetch: inout Prefetcher
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let strideV = TileBlock.positionStride(rows: unit.tiles, columns: channels)
  let strideD = TileBlock.positionStride(rows: unit.tiles, columns: filters)
  for matrix in 0..<Algorithm.matrices {
    prefetch.advance()
    let positions = Algorithm.positions(of: matrix)
    let product = GEMMShape(
      segments: positions.count, segmentStrideA: strideV, segmentStrideB: strideD,
      depth: unit.tiles, rowStrideA: 1, depthStrideA: channels, depthStrideB: filters,
      rowStrideC: block.columns, accumulates: accumulates)
    PackedGEMM.multiply(
      product, rows: block.rows, columns: block.columns,
      memory.first + (positions.first * strideV + block.channel),
      memory.second + (positions.first * strideD + block.filter),
      panelStrideB: PackedGEMM.panelWidth(columns: block.columns),
      memory.kernelGradient + matrix * block.positionStride)
  }
}

// The linear passes over the images of a group, each with what belongs to its microbatch.

private func applyInputPrologue<Algorithm: TiledAlgorithm>(
  _ input: ConvolutionInput, _ g: ConvolutionGeometry, _ group: ImageBlock,
  _ memory: TiledScratch<Algorithm>
) {
  group.forEachImage { m, n, place in
    applyInputPrologue(
      input.microbatch(m, of: group.microbatches, g), offset: n * g.inputCount,
      into: memory.input.advanced(by: place), channels: g.inputChannels)
  }
}

private func applyOutputGradientPrologue<Algorithm: TiledAlgorithm>(
  _ outputGradient: ConvolutionOutputGradient, _ parameterGradient: ConvolutionParameterGradient,
  _ g: ConvolutionGeometry, _ group: ImageBlock, _ memory: TiledScratch<Algorithm>
) {
  group.forEachImage { m, n, place in
    applyOutputGradientPrologue(
      outputGradient.microbatch(m, of: group.microbatches, g), offset: n * g.outputCount,
      into: memory.outputGradient.advanced(by: place), channels: g.outputChannels,
      biasGradient: parameterGradient.bias(m, g))
  }
}

private func applyOutputEpilogue(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, _ g: ConvolutionGeometry,
  _ group: ImageBlock, _ unit: TileBlock, product: UnsafePointer<Float>
) {
  let rowCount = g.outputWidth * g.outputChannels
  group.forEachImage { m, n, place in
    applyOutputEpilogue(
      output.microbatch(m, of: group.microbatches, g), bias: bias,
      product: product + place * unit.rows * rowCount,
      offset: n * g.outputCount + unit.firstRow * rowCount, rows: unit.rows, width: g.outputWidth,
      channels: g.outputChannels)
  }
}

/// Finishes `rows` rows of dZ of every image of a group, which begin `start` elements behind the image's first.
private func applyInputGradientEpilogue(
  _ target: ConvolutionInputGradient, _ input: ConvolutionInput, _ g: ConvolutionGeometry,
  _ group: ImageBlock, product: UnsafePointer<Float>, start: Int, rows: Int
) {
  group.forEachImage { m, n, place in
    applyInputGradientEpilogue(
      target.microbatch(m, of: group.microbatches, g), input: input.microbatch(m, of: group.microbatches, g),
      product: product + place * rows * g.inputWidth * g.inputChannels,
      offset: n * g.inputCount + start, rows: rows, width: g.inputWidth, channels: g.inputChannels)
  }
}
