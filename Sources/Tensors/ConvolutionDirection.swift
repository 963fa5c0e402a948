/// Which way a convolution is computed; kernels are prepared for one of them.
public enum ConvolutionDirection: Sendable, CaseIterable {
  /// From its input to its output.
  case forward
  /// From the gradient of its output to those of its input and kernel.
  case backward
}
