import Tensors

/// This build of the kernels.
///
/// The folder is compiled once an instruction set, under a module name each. Nothing here may be touched on a CPU that
/// lacks the set.
public enum KernelBuild {
  /// The build's functions.
  @inline(never)
  public static func kernels() -> ConvolutionKernels {
    ConvolutionKernels(
      algorithm: { Algorithm($0).rawValue }, preparedWeightCount: preparedWeightCount,
      preparationPartCount: preparationPartCount, prepareWeight: prepareWeight,
      imagesAtOnce: imagesAtOnce, scratchCount: scratchCount, forward: forward, backward: backward)
  }
}

/// Which algorithm computes which convolution.
///
/// A function of its shape alone, never of timing, so that all ranks agree and runs repeat.
/// `wrn-dist benchmark convolution` shows what each is worth.
private enum Algorithm: String {
  case winograd
  case polyphase
  case direct

  init(_ g: ConvolutionGeometry) {
    self = Winograd.handles(g) ? .winograd : Polyphase.handles(g) ? .polyphase : .direct
  }
}

private func preparedWeightCount(_ g: ConvolutionGeometry) -> Int {
  switch Algorithm(g) {
  case .winograd: return Winograd.matrices * g.inputChannels * g.outputChannels
  case .polyphase: return Polyphase.matrices * g.inputChannels * g.outputChannels
  case .direct:
    let plan = DirectPlan(g)
    return max(plan.forwardKernelCount, plan.backwardKernelCount)
  }
}

private func preparationPartCount(_ g: ConvolutionGeometry) -> Int {
  Algorithm(g) == .direct ? 1 : g.inputChannels / 16
}

private func prepareWeight(
  _ g: ConvolutionGeometry, for direction: ConvolutionDirection, part: Int,
  _ weight: UnsafePointer<Float>, into prepared: UnsafeMutablePointer<Float>
) {
  let channel = 16 * part
  switch (Algorithm(g), direction) {
  case (.winograd, .forward): Winograd.transformKernel(g, channel: channel, weight, into: prepared)
  case (.winograd, .backward):
    Winograd.transformTurnedKernel(g, channel: channel, weight, into: prepared)
  case (.polyphase, .forward):
    Polyphase.transformKernel(g, channel: channel, weight, into: prepared)
  case (.polyphase, .backward):
    Polyphase.transformTurnedKernel(g, channel: channel, weight, into: prepared)
  case (.direct, .forward): packKernel(DirectPlan(g), weight, into: prepared)
  case (.direct, .backward): packTurnedKernel(DirectPlan(g), weight, into: prepared)
  }
}

private func imagesAtOnce(_ g: ConvolutionGeometry) -> Int {
  switch Algorithm(g) {
  case .winograd: TransformPlan<Winograd>.imagesPerUnit(g)
  case .polyphase: TransformPlan<Polyphase>.imagesPerUnit(g)
  case .direct: 1
  }
}

private func scratchCount(_ g: ConvolutionGeometry, _ span: MicrobatchSpan) -> Int {
  switch Algorithm(g) {
  case .winograd: TileMemory(TransformPlan<Winograd>(g, span), at: nil).count
  case .polyphase: TileMemory(TransformPlan<Polyphase>(g, span), at: nil).count
  case .direct: DirectMemory(DirectPlan(g), at: nil).count
  }
}

private func forward(
  _ g: ConvolutionGeometry, _ span: MicrobatchSpan, input: ConvolutionInput,
  prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
  scratch: UnsafeMutablePointer<Float>
) {
  switch Algorithm(g) {
  case .winograd:
    transformedForward(
      by: Winograd.self, g, span, input: input, prepared: prepared, bias: bias, output: output,
      scratch: scratch)
  case .polyphase:
    transformedForward(
      by: Polyphase.self, g, span, input: input, prepared: prepared, bias: bias, output: output,
      scratch: scratch)
  case .direct:
    for m in 0..<span.microbatchCount {
      directForward(
        g, imageCount: span.images(of: m).count, input: input.microbatch(m, of: span, g),
        prepared: prepared, bias: bias, output: output.microbatch(m, of: span, g), scratch: scratch)
    }
  }
}

private func backward(
  _ g: ConvolutionGeometry, _ span: MicrobatchSpan, input: ConvolutionInput,
  prepared: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
  parameterGradient: ConvolutionParameterGradient, inputGradient: ConvolutionInputGradient?,
  scratch: UnsafeMutablePointer<Float>
) {
  switch Algorithm(g) {
  case .winograd:
    transformedBackward(
      by: Winograd.self, g, span, input: input, prepared: prepared, outputGradient: outputGradient,
      parameterGradient: parameterGradient, inputGradient: inputGradient, scratch: scratch)
  case .polyphase:
    transformedBackward(
      by: Polyphase.self, g, span, input: input, prepared: prepared, outputGradient: outputGradient,
      parameterGradient: parameterGradient, inputGradient: inputGradient, scratch: scratch)
  case .direct:
    for m in 0..<span.microbatchCount {
      directBackward(
        g, imageCount: span.images(of: m).count, input: input.microbatch(m, of: span, g),
        prepared: prepared, outputGradient: outputGradient.microbatch(m, of: span, g),
        weightGradient: parameterGradient.weight(m), biasGradient: parameterGradient.bias(m, g),
        inputGradient: inputGradient?.microbatch(m, of: span, g), scratch: scratch)
    }
  }
}
