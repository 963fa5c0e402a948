import Tensors

// Forward and backward passes of every tile algorithm.

/// Computes y = conv(z, weight) + bias (+ addend) and its sums for each microbatch of a span.
///
/// - Parameters:
///   - algorithm: What handles the convolution.
///   - geometry: The convolution.
///   - span: N, and which images are a microbatch.
///   - input: x, `NHWC`, and how z comes from it.
///   - prepared: U, as the algorithm's `transformKernel` leaves it.
///   - bias: K numbers, or nil.
///   - output: y, `NPQK`; the addend may be y itself.
///   - scratch: ``TileMemory/count`` floats.
func transformedForward<Algorithm: TileAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, _ span: MicrobatchSpan,
  input: ConvolutionInput, prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?,
  output: ConvolutionOutput, scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TransformPlan<Algorithm>(geometry, span)
  let memory = TileMemory(plan, at: scratch)
  for n in 0..<plan.tiles.imagesPerGroup {
    memory.input.advanced(by: n).clear(channels: channels)
  }
  output.sums?.update(repeating: 0, count: span.microbatchCount * 2 * filters)
  plan.tiles.forEachGroup { group in
    writeInput(input, geometry, group, memory)
    var prefetch = Prefetch(
      geometry, input, output, group: group, parts: plan.tiles.unitsPerGroup * Algorithm.matrices)
    plan.tiles.forEachUnit(images: group.images.count) { unit in
      Algorithm.transformInput(unit, memory.input, into: memory.first)
      multiplyPositions(
        plan, unit, memory.first, prepared, rows: channels, columns: filters,
        into: memory.second, &prefetch)
      Algorithm.transformOutput(unit, memory.second, channels: filters, into: memory.first)
      finishOutput(output, bias: bias, geometry, group, unit, product: memory.first)
    }
  }
}

/// Computes the gradients of the kernel, the bias and the input for each microbatch of a span.
///
/// - Parameters:
///   - algorithm: What handles the convolution.
///   - geometry: The convolution.
///   - span: N, and which images are a microbatch.
///   - input: What the forward pass read.
///   - prepared: U′, as the algorithm's `transformTurnedKernel` leaves it.
///   - outputGradient: dY, `NPQK`.
///   - parameterGradient: Where dW and dB of each microbatch go.
///   - inputGradient: Where the input's gradient goes, or nil.
///   - scratch: ``TileMemory/count`` floats.
func transformedBackward<Algorithm: TileAlgorithm>(
  by algorithm: Algorithm.Type, _ geometry: ConvolutionGeometry, _ span: MicrobatchSpan,
  input: ConvolutionInput, prepared: UnsafePointer<Float>,
  outputGradient: ConvolutionOutputGradient, parameterGradient: ConvolutionParameterGradient,
  inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
) {
  let (channels, filters) = (geometry.inputChannels, geometry.outputChannels)
  let plan = TransformPlan<Algorithm>(geometry, span)
  let memory = TileMemory(plan, at: scratch)
  for n in 0..<plan.tiles.imagesPerGroup {
    memory.input.advanced(by: n).clear(channels: channels)
    memory.outputGradient.advanced(by: n).clear(channels: filters)
  }
  for m in 0..<span.microbatchCount {
    parameterGradient.bias(m, geometry)?.update(repeating: 0, count: filters)
  }
  inputGradient?.sums?.update(repeating: 0, count: span.microbatchCount * 2 * channels)
  plan.tiles.forEachGroup { group in
    writeInput(input, geometry, group, memory)
    writeOutputGradient(outputGradient, parameterGradient, geometry, group, memory)
    var prefetch = Prefetch(
      geometry, input, outputGradient, inputGradient, group: group,
      parts: plan.tiles.unitsPerGroup * Algorithm.matrices * (inputGradient == nil ? 1 : 2))
    plan.tiles.forEachUnit(images: group.images.count) { unit in
      // A microbatch at a time: what is at work for its kernel's gradient had better stay in the second-level cache.
      for m in group.microbatches {
        let images = group.images(of: m)
        let part = unit.part(images: images.count)
        let offset = images.lowerBound - group.images.lowerBound
        Algorithm.transformInput(part, memory.input.advanced(by: offset), into: memory.first)
        Algorithm.transformGradient(
          part, memory.outputGradient.advanced(by: offset), into: memory.second)
        plan.blocks.forEachBlock { block in
          multiplyTransposed(
            part, memory, block, geometry,
            accumulates: !group.beginsMicrobatch || unit.firstTileRow > 0, &prefetch)
          if plan.tiles.holdsMicrobatches {
            Algorithm.transformKernelGradient(
              memory.kernelGradient, block, into: parameterGradient.weight(m), geometry)
          }
        }
      }
      guard let inputGradient else { return }
      Algorithm.transformGradientWindow(unit, memory.outputGradient, into: memory.second)
      multiplyPositions(
        plan, unit, memory.second, prepared, rows: filters, columns: channels,
        into: memory.first, &prefetch)
      let start = Algorithm.stride * unit.firstRow * geometry.inputWidth * channels
      let dZ = productTarget(
        inputGradient, input, offset: group.images.lowerBound * geometry.inputCount + start,
        orElse: memory.second)
      Algorithm.transformInputGradient(
        unit, memory.first, channels: channels, geometry, into: dZ)
      finishInputGradient(
        inputGradient, input, geometry, group, product: dZ, start: start,
        rows: Algorithm.stride * unit.rows)
    }
    guard !plan.tiles.holdsMicrobatches, group.endsMicrobatch else { return }
    let weightGradient = parameterGradient.weight(group.microbatches.lowerBound)
    plan.blocks.forEachBlock {
      Algorithm.transformKernelGradient(memory.kernelGradient, $0, into: weightGradient, geometry)
    }
  }
}

/// M = V·U at every position: `[positions, T, columns]` from `[positions, T, rows]`.
private func multiplyPositions<Algorithm: TileAlgorithm>(
  _ plan: TransformPlan<Algorithm>, _ unit: TileUnit, _ a: UnsafePointer<Float>, _ kernel: UnsafePointer<Float>,
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
      let (a, b, c) = (a + f * strideA, kernel + matrix * layout.frequencyStride, c + f * strideC)
      if plan.streamsKernel {
        MatrixProduct.multiplyStreamed(product, rows: unit.tiles, columns: columns, a, b, c)
      } else {
        MatrixProduct.multiply(
          product, rows: unit.tiles, columns: columns, a, b, panelStrideB: layout.panelStride, c)
      }
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

// The linear passes over the images of a group, each with what belongs to its microbatch.

private func writeInput<Algorithm: TileAlgorithm>(
  _ input: ConvolutionInput, _ g: ConvolutionGeometry, _ group: ImageGroup,
  _ memory: TileMemory<Algorithm>
) {
  group.forEachImage { m, n, place in
    writeInput(
      input.microbatch(m, of: group.span, g), offset: n * g.inputCount,
      into: memory.input.advanced(by: place), channels: g.inputChannels)
  }
}

private func writeOutputGradient<Algorithm: TileAlgorithm>(
  _ outputGradient: ConvolutionOutputGradient, _ parameterGradient: ConvolutionParameterGradient,
  _ g: ConvolutionGeometry, _ group: ImageGroup, _ memory: TileMemory<Algorithm>
) {
  group.forEachImage { m, n, place in
    writeOutputGradient(
      outputGradient.microbatch(m, of: group.span, g), offset: n * g.outputCount,
      into: memory.outputGradient.advanced(by: place), channels: g.outputChannels,
      biasGradient: parameterGradient.bias(m, g))
  }
}

private func finishOutput(
  _ output: ConvolutionOutput, bias: UnsafePointer<Float>?, _ g: ConvolutionGeometry,
  _ group: ImageGroup, _ unit: TileUnit, product: UnsafePointer<Float>
) {
  let rowCount = g.outputWidth * g.outputChannels
  group.forEachImage { m, n, place in
    finishOutput(
      output.microbatch(m, of: group.span, g), bias: bias,
      product: product + place * unit.rows * rowCount,
      offset: n * g.outputCount + unit.firstRow * rowCount, rows: unit.rows, width: g.outputWidth,
      channels: g.outputChannels)
  }
}

/// Finishes `rows` rows of dZ of every image of a group, which begin `start` elements behind the image's first.
private func finishInputGradient(
  _ target: ConvolutionInputGradient, _ input: ConvolutionInput, _ g: ConvolutionGeometry,
  _ group: ImageGroup, product: UnsafePointer<Float>, start: Int, rows: Int
) {
  group.forEachImage { m, n, place in
    finishInputGradient(
      target.microbatch(m, of: group.span, g), input: input.microbatch(m, of: group.span, g),
      product: product + place * rows * g.inputWidth * g.inputChannels,
      offset: n * g.inputCount + start, rows: rows, width: g.inputWidth, channels: g.inputChannels)
  }
}
