/// The sizes of a two-dimensional convolution: cross-correlation of an `NHWC` activation with an `RSCK` weight.
public struct ConvolutionGeometry: Hashable, Sendable {
  /// H: input rows.
  public let inputHeight: Int
  /// W: input columns.
  public let inputWidth: Int
  /// C: input channels.
  public let inputChannels: Int
  /// K: output channels.
  public let outputChannels: Int
  /// R = S: rows and columns of the weight.
  public let kernelSize: Int
  /// The distance between output positions in input pixels, equal for rows and columns.
  public let stride: Int
  /// The rows of zeros above the image, equal to the columns of zeros to its left.
  ///
  /// Input positions beyond the last row or column also count as zero, as far as the weight reaches.
  public let paddingBefore: Int
  /// P: output rows.
  public let outputHeight: Int
  /// Q: output columns.
  public let outputWidth: Int

  /// Creates a geometry with TensorFlow's SAME padding: the output has ⌈H/stride⌉ rows and ⌈W/stride⌉ columns.
  ///
  /// Half of the required zeros, rounded down, come before the image and the rest after it. For example, kernel size 3 at
  /// stride 2 over an even size needs no zero before and one after.
  ///
  /// - Precondition: Rows and columns require the same padding before.
  public init(
    inputHeight: Int, inputWidth: Int, inputChannels: Int, outputChannels: Int, kernelSize: Int,
    stride: Int
  ) {
    func padding(_ size: Int) -> (output: Int, before: Int) {
      let output = (size + stride - 1) / stride
      return (output, max((output - 1) * stride + kernelSize - size, 0) / 2)
    }
    let (rows, columns) = (padding(inputHeight), padding(inputWidth))
    precondition(rows.before == columns.before, "rows and columns must require the same padding before")
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

  /// Creates a geometry with equal padding on all sides, as in PyTorch: ⌊(H + 2·padding − R)/stride⌋ + 1 output rows.
  ///
  /// The networks of the Wide ResNet paper use this padding.
  ///
  /// - Precondition: The weight is no larger than the padded image.
  public init(
    inputHeight: Int, inputWidth: Int, inputChannels: Int, outputChannels: Int, kernelSize: Int,
    stride: Int, padding: Int
  ) {
    precondition(
      min(inputHeight, inputWidth) + 2 * padding >= kernelSize, "the weight is larger than the padded image")
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

  /// The elements per input image, H·W·C.
  public var inputCount: Int { inputHeight * inputWidth * inputChannels }
  /// The elements per output image, P·Q·K.
  public var outputCount: Int { outputHeight * outputWidth * outputChannels }
  /// The elements of the weight, R·S·C·K.
  public var weightCount: Int { kernelSize * kernelSize * inputChannels * outputChannels }
  /// The multiply-adds of the direct convolution per image, P·Q·R·S·C·K.
  public var multiplyAdds: Int { outputHeight * outputWidth * weightCount }
}

/// The pass that a packed weight serves.
public enum ConvolutionDirection: Sendable, CaseIterable {
  /// The forward pass: from the input to the output.
  case forward
  /// The backward pass: from the output gradient to the gradients w.r.t. input, weight and bias.
  case backward
}
