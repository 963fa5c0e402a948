import Tensors

extension ConvolutionKernels {
  /// These kernels with one wrong number in every forward pass, to show that a check finds it.
  public func withOneWrongNumber() -> ConvolutionKernels {
    replacing(forward: { [forward] geometry, span, input, prepared, bias, output, scratch in
      forward(geometry, span, input, prepared, bias, output, scratch)
      output.activation[0] += 0.01
    })
  }
}
