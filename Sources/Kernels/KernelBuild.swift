import Tensors

/// The kernels, compiled for one instruction set.
///
/// The directory is compiled once per instruction set, as a module each. Nothing here may be used on a CPU without the
/// set.
public enum KernelBuild {
  /// Returns the build's functions.
  @inline(never)
  public static func kernels() -> ConvolutionKernelTable {
    ConvolutionKernelTable(
      algorithm: { Algorithm($0).rawValue }, packedWeightCount: packedWeightCount,
      packingTaskCount: packingTaskCount, packWeight: packWeight,
      preferredImageCount: preferredImageCount, scratchCount: scratchCount,
      forward: forward, backward: backward, fillDropoutMask: fillDropoutMask)
  }
}

/// The algorithm of a convolution.
///
/// It is a function of the shape alone, never of timing, so that training is bitwise reproducible over ranks and runs.
/// `wrn-dist benchmark convolution` shows the speed of each.
private enum Algorithm: String {
  case winograd
  case polyphase
  case pointwise
  case direct

  init(_ g: ConvolutionGeometry) {
    self =
      Winograd.supports(g)
      ? .winograd : Polyphase.supports(g) ? .polyphase : PointwisePlan.supports(g) ? .pointwise : .direct
  }
}

private func packedWeightCount(_ g: ConvolutionGeometry) -> Int {
  switch Algorithm(g) {
  case .winograd: return Winograd.weightMatrixCount * matrixStride(g)
  case .polyphase: return Polyphase.weightMatrixCount * matrixStride(g)
  case .pointwise: return g.weightCount
  case .direct:
    let plan = DirectPlan(g)
    return max(plan.forwardWeightCount, plan.backwardWeightCount)
  }
}

/// Returns the floats from one matrix of a transformed weight to the next, the same for both directions.
private func matrixStride(_ g: ConvolutionGeometry) -> Int {
  PackedWeightLayout(rows: g.inputChannels, columns: g.outputChannels).matrixStride
}

private func packingTaskCount(_ g: ConvolutionGeometry) -> Int {
  Algorithm(g) == .direct ? 1 : g.inputChannels / 16
}

private func packWeight(
  _ g: ConvolutionGeometry, for direction: ConvolutionDirection, task: Int,
  _ weight: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>
) {
  let channel = 16 * task
  switch (Algorithm(g), direction) {
  case (.winograd, .forward): Winograd.transformWeight(g, channel: channel, weight, into: packed)
  case (.winograd, .backward):
    Winograd.transformFlippedWeight(g, channel: channel, weight, into: packed)
  case (.polyphase, .forward):
    Polyphase.transformWeight(g, channel: channel, weight, into: packed)
  case (.polyphase, .backward):
    Polyphase.transformFlippedWeight(g, channel: channel, weight, into: packed)
  case (.pointwise, .forward): PointwisePlan.packWeight(g, channel: channel, weight, into: packed)
  case (.pointwise, .backward): PointwisePlan.packFlippedWeight(g, channel: channel, weight, into: packed)
  case (.direct, .forward): DirectPlan(g).packWeight(weight, into: packed)
  case (.direct, .backward): DirectPlan(g).packFlippedWeight(weight, into: packed)
  }
}

private func preferredImageCount(_ g: ConvolutionGeometry) -> Int {
  switch Algorithm(g) {
  case .winograd: TiledPlan<Winograd>.imagesPerTileBlock(g)
  case .polyphase: TiledPlan<Polyphase>.imagesPerTileBlock(g)
  case .pointwise: PointwisePlan.imagesPerBlock(g)
  case .direct: 1
  }
}

private func scratchCount(_ g: ConvolutionGeometry, _ microbatches: MicrobatchRange) -> Int {
  switch Algorithm(g) {
  case .winograd: TiledScratch(TiledPlan<Winograd>(g, microbatches), at: nil).count
  case .polyphase: TiledScratch(TiledPlan<Polyphase>(g, microbatches), at: nil).count
  case .pointwise: PointwiseScratch(PointwisePlan(g, microbatches), at: nil).count
  case .direct: DirectScratch(DirectPlan(g), at: nil).count
  }
}

private func forward(
  _ g: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
  packed: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
  scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  switch Algorithm(g) {
  case .winograd:
    tiledForward(
      by: Winograd.self, g, microbatches, input: input, packed: packed, bias: bias, output: output,
      scratch: scratch, ticks: ticks)
  case .polyphase:
    tiledForward(
      by: Polyphase.self, g, microbatches, input: input, packed: packed, bias: bias, output: output,
      scratch: scratch, ticks: ticks)
  case .pointwise:
    pointwiseForward(
      g, microbatches, input: input, packed: packed, bias: bias, output: output, scratch: scratch,
      ticks: ticks)
  case .direct:
    for m in 0..<microbatches.microbatchCount {
      directForward(
        g, imageCount: microbatches.images(of: m).count, input: input.microbatch(m, of: microbatches, g),
        packed: packed, bias: bias, output: output.microbatch(m, of: microbatches, g), scratch: scratch,
        ticks: ticks)
    }
  }
}

private func backward(
  _ g: ConvolutionGeometry, _ microbatches: MicrobatchRange, input: ConvolutionInput,
  packed: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
  parameterGradient: ConvolutionParameterGradient, inputGradient: ConvolutionInputGradient?,
  scratch: UnsafeMutablePointer<Float>, ticks: PhaseTicks?
) {
  switch Algorithm(g) {
  case .winograd:
    tiledBackward(
      by: Winograd.self, g, microbatches, input: input, packed: packed, outputGradient: outputGradient,
      parameterGradient: parameterGradient, inputGradient: inputGradient, scratch: scratch, ticks: ticks)
  case .polyphase:
    tiledBackward(
      by: Polyphase.self, g, microbatches, input: input, packed: packed, outputGradient: outputGradient,
      parameterGradient: parameterGradient, inputGradient: inputGradient, scratch: scratch, ticks: ticks)
  case .pointwise:
    pointwiseBackward(
      g, microbatches, input: input, packed: packed, outputGradient: outputGradient,
      parameterGradient: parameterGradient, inputGradient: inputGradient, scratch: scratch, ticks: ticks)
    parameterGradient.sumPairs(microbatchCount: microbatches.microbatchCount, g)
  case .direct:
    for m in 0..<microbatches.microbatchCount {
      directBackward(
        g, imageCount: microbatches.images(of: m).count, input: input.microbatch(m, of: microbatches, g),
        packed: packed, outputGradient: outputGradient.microbatch(m, of: microbatches, g),
        weightGradient: parameterGradient.weight(m), biasGradient: parameterGradient.bias(m, g),
        inputGradient: inputGradient?.microbatch(m, of: microbatches, g), scratch: scratch, ticks: ticks)
    }
    parameterGradient.sumPairs(microbatchCount: microbatches.microbatchCount, g)
  }
}
