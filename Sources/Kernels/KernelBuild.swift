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
      algorithm: { WinogradPlan.handles($0) ? "winograd" : "direct" },
      preparedWeightCount: preparedWeightCount, prepareWeight: prepareWeight,
      scratchCount: scratchCount, forward: forward, backward: backward)
  }
}

// Which algorithm computes which convolution depends on its shape alone, never on timing: all ranks agree, and runs
// repeat. `wrn-dist benchmark convolution` shows what each is worth.

private func preparedWeightCount(_ g: ConvolutionGeometry) -> Int {
  if WinogradPlan.handles(g) {
    return 2 * WinogradPlan.frequencies * g.inputChannels * g.outputChannels
  }
  let plan = DirectPlan(g)
  return plan.forwardKernelCount + plan.backwardKernelCount
}

private func prepareWeight(
  _ g: ConvolutionGeometry, _ weight: UnsafePointer<Float>,
  into prepared: UnsafeMutablePointer<Float>
) {
  if WinogradPlan.handles(g) {
    transformKernel(g, weight, into: prepared)
  } else {
    packKernel(DirectPlan(g), weight, into: prepared)
  }
}

private func scratchCount(_ g: ConvolutionGeometry, imageCount: Int) -> Int {
  WinogradPlan.handles(g)
    ? WinogradMemory(WinogradPlan(g, imageCount: imageCount), at: nil).count
    : DirectMemory(DirectPlan(g), at: nil).count
}

private func forward(
  _ g: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  prepared: UnsafePointer<Float>, bias: UnsafePointer<Float>?, output: ConvolutionOutput,
  scratch: UnsafeMutablePointer<Float>
) {
  if WinogradPlan.handles(g) {
    winogradForward(
      g, imageCount: imageCount, input: input, prepared: prepared, bias: bias, output: output,
      scratch: scratch)
  } else {
    directForward(
      g, imageCount: imageCount, input: input, prepared: prepared, bias: bias, output: output,
      scratch: scratch)
  }
}

private func backward(
  _ g: ConvolutionGeometry, imageCount: Int, input: ConvolutionInput,
  prepared: UnsafePointer<Float>, outputGradient: ConvolutionOutputGradient,
  weightGradient: UnsafeMutablePointer<Float>, biasGradient: UnsafeMutablePointer<Float>?,
  inputGradient: ConvolutionInputGradient?, scratch: UnsafeMutablePointer<Float>
) {
  if WinogradPlan.handles(g) {
    winogradBackward(
      g, imageCount: imageCount, input: input, prepared: prepared, outputGradient: outputGradient,
      weightGradient: weightGradient, biasGradient: biasGradient, inputGradient: inputGradient,
      scratch: scratch)
  } else {
    directBackward(
      g, imageCount: imageCount, input: input, prepared: prepared, outputGradient: outputGradient,
      weightGradient: weightGradient, biasGradient: biasGradient, inputGradient: inputGradient,
      scratch: scratch)
  }
}
