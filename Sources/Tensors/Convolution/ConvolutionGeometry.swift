/// The shape of a two-dimensional convolution: cross-correlation of an `NHWC` activation with an `RSCK` kernel.
public struct ConvolutionGeometry: Hashable, Sendable {
  /// H: input rows.
  public let inputHeight: Int
  /// W: input columns.
  public let inputWidth: Int
  /// C: input channels.
  public let inputChannels: Int
  /// K: filters, the output's channels.
  public let outputChannels: Int
  /// R = S: rows and columns of the kernel.
  public let kernelSize: Int
  /// The step between output positions, in input pixels, both ways.
  public let stride: Int
  /// Rows and columns of zeros before the first; what lies beyond the last is zero as far as the kernel reaches.
  public let paddingBefore: Int
  /// P: output rows.
  public let outputHeight: Int
  /// Q: output columns.
  public let outputWidth: Int

  /// Makes a geometry with TensorFlow's SAME padding: the output has ⌈H/stride⌉ rows, and of the zeros that needs half,
  /// rounded down, come before and the rest after.
  ///
  /// An even extent at stride 2 gets none before and one after.
  ///
  /// - Precondition: H = W, or stride 1, or both need the same padding before.
  public init(
    inputHeight: Int, inputWidth: Int, inputChannels: Int, outputChannels: Int, kernelSize: Int,
    stride: Int
  ) {
    func padding(_ extent: Int) -> (output: Int, before: Int) {
      let output = (extent + stride - 1) / stride
      return (output, max((output - 1) * stride + kernelSize - extent, 0) / 2)
    }
    let (rows, columns) = (padding(inputHeight), padding(inputWidth))
    precondition(rows.before == columns.before, "rows and columns need the same padding before")
    self.inputHeight = inputHeight
    self.inputWidth = inputWidth
    self.inputChannels = inputChannels
    self.outputChannels = outputChannels
    self.kernelSize = kernelSize
    self.stride = stride
    paddingBefore = rows.before
    outputHeight = rows.output
    outputWidth = columns.output
  }

  /// Makes a geometry with the same padding on all sides, as the Wide ResNet paper's networks have it: the output has
  /// ⌊(H + 2·padding − R)/stride⌋ + 1 rows.
  ///
  /// - Precondition: The kernel fits into the padded image.
  public init(
    inputHeight: Int, inputWidth: Int, inputChannels: Int, outputChannels: Int, kernelSize: Int,
    stride: Int, padding: Int
  ) {
    precondition(
      min(inputHeight, inputWidth) + 2 * padding >= kernelSize, "the kernel is larger than the padded image")
    self.inputHeight = inputHeight
    self.inputWidth = inputWidth
    self.inputChannels = inputChannels
    self.outputChannels = outputChannels
    self.kernelSize = kernelSize
    self.stride = stride
    paddingBefore = padding
    outputHeight = (inputHeight + 2 * padding - kernelSize) / stride + 1
    outputWidth = (inputWidth + 2 * padding - kernelSize) / stride + 1
  }

  /// Elements of one input image, H·W·C.
  public var inputCount: Int { inputHeight * inputWidth * inputChannels }
  /// Elements of one output image, P·Q·K.
  public var outputCount: Int { outputHeight * outputWidth * outputChannels }
  /// Elements of the kernel, R·S·C·K.
  public var weightCount: Int { kernelSize * kernelSize * inputChannels * outputChannels }
  /// Multiply-adds of the direct convolution of one image, P·Q·R·S·C·K.
  public var multiplyAdds: Int { outputHeight * outputWidth * weightCount }
}

/// Which way a convolution is computed; kernels are prepared for one of them.
public enum ConvolutionDirection: Sendable, CaseIterable {
  /// From its input to its output.
  case forward
  /// From the gradient of its output to those of its input and kernel.
  case backward
}
