// What a convolution engine reads and writes for a span of microbatches. Batch normalisation, ReLU, bias and residual
// addition are part of the operands, so that an engine can do them while an image is in cache and no normalised, rectified
// or padded tensor is ever stored. All activations are NHWC, the span's images one after another.

/// A per-channel affine map followed by ReLU: z = max(0, scale·x + shift).
public struct NormalizedReLU {
  /// gamma / sqrt(variance + epsilon), one number a channel.
  public let scale: UnsafePointer<Float>
  /// beta − mean·scale, one number a channel.
  public let shift: UnsafePointer<Float>
  /// From a microbatch's coefficients to the next one's; 0 where all share them.
  public let microbatchStride: Int

  /// Makes the map from its coefficients.
  public init(
    scale: UnsafePointer<Float>, shift: UnsafePointer<Float>, microbatchStride: Int = 0
  ) {
    self.scale = scale
    self.shift = shift
    self.microbatchStride = microbatchStride
  }

  /// The map of microbatch `m`.
  fileprivate func microbatch(_ m: Int) -> NormalizedReLU {
    NormalizedReLU(
      scale: scale + m * microbatchStride, shift: shift + m * microbatchStride)
  }
}

/// What a convolution reads: x itself, or z = max(0, scale·x + shift).
public struct ConvolutionInput {
  /// x, `NHWC`.
  public let activation: UnsafePointer<Float>
  /// The map from x to z, or nil where the convolution reads x.
  public let normalization: NormalizedReLU?

  /// Makes an input.
  public init(activation: UnsafePointer<Float>, normalization: NormalizedReLU?) {
    self.activation = activation
    self.normalization = normalization
  }

  /// The input of microbatch `m` of a span.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionInput {
    ConvolutionInput(
      activation: activation + microbatches.images(of: m).lowerBound * g.inputCount,
      normalization: normalization?.microbatch(m))
  }
}

/// What a convolution writes: y = conv(z) + bias (+ addend), and its per-channel sums.
public struct ConvolutionOutput {
  /// y, `NPQK`.
  public let activation: UnsafeMutablePointer<Float>
  /// Added to every element if there is one; may be `activation` itself.
  public let addend: UnsafePointer<Float>?
  /// Where Σy (K numbers) and Σy² (K numbers) over a microbatch go, one microbatch's behind the other's, overwritten; nil
  /// if nobody needs them.
  public let sums: UnsafeMutablePointer<Double>?

  /// Makes an output.
  public init(
    activation: UnsafeMutablePointer<Float>, addend: UnsafePointer<Float>?,
    sums: UnsafeMutablePointer<Double>?
  ) {
    self.activation = activation
    self.addend = addend
    self.sums = sums
  }

  /// The output of microbatch `m` of a span.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionOutput {
    let offset = microbatches.images(of: m).lowerBound * g.outputCount
    return ConvolutionOutput(
      activation: activation + offset, addend: addend.map { $0 + offset },
      sums: sums.map { $0 + m * 2 * g.outputChannels })
  }
}

/// The map from the gradient behind a batch normalisation and ReLU to the gradient before it: ca·g + cb·y + cc, with g
/// already masked by the ReLU (Ioffe and Szegedy, arXiv 1502.03167, section 3, collected per channel).
public struct NormalizationBackward {
  /// y, the tensor that was normalised, `NPQK`.
  public let activation: UnsafePointer<Float>
  /// ca, K numbers.
  public let gradientScale: UnsafePointer<Float>
  /// cb, K numbers.
  public let activationScale: UnsafePointer<Float>
  /// cc, K numbers.
  public let constant: UnsafePointer<Float>
  /// From a microbatch's coefficients to the next one's; 0 where all share them.
  public let microbatchStride: Int

  /// Makes the map.
  public init(
    activation: UnsafePointer<Float>, gradientScale: UnsafePointer<Float>,
    activationScale: UnsafePointer<Float>, constant: UnsafePointer<Float>, microbatchStride: Int = 0
  ) {
    self.activation = activation
    self.gradientScale = gradientScale
    self.activationScale = activationScale
    self.constant = constant
    self.microbatchStride = microbatchStride
  }

  /// The map of microbatch `m`, whose first element is at `offset`.
  fileprivate func microbatch(_ m: Int, offset: Int) -> NormalizationBackward {
    let row = m * microbatchStride
    return NormalizationBackward(
      activation: activation + offset, gradientScale: gradientScale + row,
      activationScale: activationScale + row, constant: constant + row)
  }
}

/// The loss's gradient with respect to a convolution's output y: dY = (ca·g + cb·y + cc, or g itself) (+ addend).
public struct ConvolutionOutputGradient {
  /// g, `NPQK`.
  public let gradient: UnsafePointer<Float>
  /// The batch normalisation between g and y; nil if g is the gradient of y.
  public let normalization: NormalizationBackward?
  /// Added to every element if there is one: what reaches y by a skip connection.
  public let addend: UnsafePointer<Float>?
  /// Where dY is kept for a skip connection; may be `gradient` or `addend`; nil if nobody needs it.
  public let savedGradient: UnsafeMutablePointer<Float>?

  /// Makes an output gradient.
  public init(
    gradient: UnsafePointer<Float>, normalization: NormalizationBackward? = nil,
    addend: UnsafePointer<Float>? = nil, savedGradient: UnsafeMutablePointer<Float>? = nil
  ) {
    self.gradient = gradient
    self.normalization = normalization
    self.addend = addend
    self.savedGradient = savedGradient
  }

  /// The output gradient of microbatch `m` of a span.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionOutputGradient {
    let offset = microbatches.images(of: m).lowerBound * g.outputCount
    return ConvolutionOutputGradient(
      gradient: gradient + offset, normalization: normalization?.microbatch(m, offset: offset),
      addend: addend.map { $0 + offset }, savedGradient: savedGradient.map { $0 + offset })
  }
}

/// Where the gradients of a convolution's kernel and bias go: to a place of each microbatch's own.
public struct ConvolutionParameterGradient {
  /// For each microbatch the address of dW, `RSCK`, and behind it that of dB, K numbers, if there is a bias; overwritten.
  public let destinations: UnsafePointer<UnsafeMutablePointer<Float>>
  /// Whether the convolution has a bias.
  public let hasBias: Bool

  /// Makes a destination.
  public init(destinations: UnsafePointer<UnsafeMutablePointer<Float>>, hasBias: Bool) {
    self.destinations = destinations
    self.hasBias = hasBias
  }

  /// dW of microbatch `m`.
  public func weight(_ m: Int) -> UnsafeMutablePointer<Float> { destinations[m] }

  /// dB of microbatch `m`: the sum of dY per channel; nil without a bias.
  public func bias(_ m: Int, _ g: ConvolutionGeometry) -> UnsafeMutablePointer<Float>? {
    hasBias ? destinations[m] + g.weightCount : nil
  }
}

/// Where the gradient with respect to a convolution's input goes.
///
/// With a normalised input it is the gradient of the ReLU's argument, g' = z > 0 ? dZ : 0, together with the two sums that
/// are beta's and gamma's gradients; otherwise it is dX.
public struct ConvolutionInputGradient {
  /// g' or dX, `NHWC`, overwritten; does not overlap the output gradient.
  public let gradient: UnsafeMutablePointer<Float>
  /// The input's per-channel mean, C numbers; not read without normalisation.
  public let mean: UnsafePointer<Float>?
  /// Where Σg' (C numbers) and Σg'·(x − mean) (C numbers) over a microbatch go, one microbatch's behind the other's; nil
  /// without normalisation.
  public let sums: UnsafeMutablePointer<Double>?
  /// From a microbatch's means to the next one's; 0 where all share them.
  public let microbatchStride: Int

  /// Makes a destination.
  public init(
    gradient: UnsafeMutablePointer<Float>, mean: UnsafePointer<Float>? = nil,
    sums: UnsafeMutablePointer<Double>? = nil, microbatchStride: Int = 0
  ) {
    self.gradient = gradient
    self.mean = mean
    self.sums = sums
    self.microbatchStride = microbatchStride
  }

  /// The destination of microbatch `m` of a span.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionInputGradient {
    ConvolutionInputGradient(
      gradient: gradient + microbatches.images(of: m).lowerBound * g.inputCount,
      mean: mean.map { $0 + m * microbatchStride }, sums: sums.map { $0 + m * 2 * g.inputChannels })
  }
}

/// The images of one microbatch or of several that follow one another, which one call of a convolution engine computes.
///
/// Sums over images never cross a microbatch, so how many are computed at once does not change a bit.
public struct MicrobatchRange: Sendable {
  /// All images.
  public let imageCount: Int
  /// The images of every microbatch but possibly the last.
  public let imagesPerMicrobatch: Int

  /// Makes a span.
  ///
  /// - Parameters:
  ///   - imageCount: All images; at least one.
  ///   - imagesPerMicrobatch: Of every microbatch but the last, which has what is left; nil: all are one microbatch.
  public init(imageCount: Int, imagesPerMicrobatch: Int? = nil) {
    precondition(imageCount > 0 && imagesPerMicrobatch ?? 1 > 0, "a span has images")
    self.imageCount = imageCount
    self.imagesPerMicrobatch = imagesPerMicrobatch ?? imageCount
  }

  /// The number of microbatches.
  public var microbatchCount: Int { (imageCount - 1) / imagesPerMicrobatch + 1 }

  /// The microbatch of an image.
  public func microbatch(of image: Int) -> Int { image / imagesPerMicrobatch }

  /// The images of microbatch `m`.
  public func images(of m: Int) -> Range<Int> {
    m * imagesPerMicrobatch..<min((m + 1) * imagesPerMicrobatch, imageCount)
  }
}
