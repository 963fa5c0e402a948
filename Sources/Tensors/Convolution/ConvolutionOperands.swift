// The operands of one call of a convolution engine for one or more whole microbatches.
//
// Batch norm, ReLU, bias and residual add are part of the operands: an engine applies them as fused prologue or epilogue
// while an image is in cache. No normalized, rectified or padded tensor is stored. All activations and their gradients
// hold the images of the call in order, without gaps.

/// The images of one call of a convolution engine, divided into microbatches.
///
/// Sums over images never cross a microbatch, so the number of microbatches per call does not affect results.
public struct MicrobatchRange: Sendable {
  /// N: the number of images in all microbatches.
  public let imageCount: Int
  /// The number of images of every microbatch except possibly the last, which holds the remainder.
  public let imagesPerMicrobatch: Int

  /// Creates a range of microbatches.
  ///
  /// - Parameters:
  ///   - imageCount: The number of all images, at least 1.
  ///   - imagesPerMicrobatch: The number of images per microbatch, at least 1. If `nil`, all images form one microbatch.
  public init(imageCount: Int, imagesPerMicrobatch: Int? = nil) {
    precondition(imageCount > 0 && imagesPerMicrobatch ?? 1 > 0, "image counts must be positive")
    self.imageCount = imageCount
    self.imagesPerMicrobatch = imagesPerMicrobatch ?? imageCount
  }

  /// The number of microbatches.
  public var microbatchCount: Int { (imageCount - 1) / imagesPerMicrobatch + 1 }

  /// Returns the index of the microbatch that holds `image`.
  public func microbatch(of image: Int) -> Int { image / imagesPerMicrobatch }

  /// Returns the images of microbatch `m`.
  public func images(of m: Int) -> Range<Int> {
    m * imagesPerMicrobatch..<min((m + 1) * imagesPerMicrobatch, imageCount)
  }
}

/// A batch norm as a per-channel affine map, followed by ReLU: z = max(0, scale·x + shift).
public struct NormalizedReLU {
  /// gamma / sqrt(variance + epsilon), one value per channel.
  public let scale: UnsafePointer<Float>
  /// beta − mean·scale, one value per channel.
  public let shift: UnsafePointer<Float>
  /// The distance between the coefficients of consecutive microbatches; 0 if all microbatches share them.
  public let microbatchStride: Int

  /// Creates the map from its coefficients.
  public init(
    scale: UnsafePointer<Float>, shift: UnsafePointer<Float>, microbatchStride: Int = 0
  ) {
    self.scale = scale
    self.shift = shift
    self.microbatchStride = microbatchStride
  }

  /// Returns the map of microbatch `m`.
  fileprivate func microbatch(_ m: Int) -> NormalizedReLU {
    NormalizedReLU(
      scale: scale + m * microbatchStride, shift: shift + m * microbatchStride)
  }
}

/// A dropout mask: one bit per element of an activation, and the factor of the elements that are kept.
///
/// Images have a multiple of 16 elements, so that each begins with a new word.
public struct DropoutMask {
  /// One word per 16 consecutive elements, `NHWC`: bit l of word w is 1 if element 16·w + l is kept.
  public let words: UnsafePointer<UInt16>
  /// 1/(1 − p), where p is the probability that an element is dropped.
  public let scale: Float

  /// Creates a mask.
  public init(words: UnsafePointer<UInt16>, scale: Float) {
    self.words = words
    self.scale = scale
  }

  /// Returns the mask from element `offset` on, a multiple of 16.
  public func advanced(by offset: Int) -> DropoutMask { DropoutMask(words: words + offset / 16, scale: scale) }

  /// Returns `value`, which belongs to element `i`, times ``scale`` if the element is kept, otherwise 0.
  public func applied(to value: Float, _ i: Int) -> Float {
    words[i >> 4] >> UInt16(i & 15) & 1 == 1 ? value * scale : 0
  }
}

/// The input z of a convolution: x itself, or x after batch norm and ReLU, and after dropout if there is a mask.
public struct ConvolutionInput {
  /// x, `NHWC`.
  public let activation: UnsafePointer<Float>
  /// The map from x to z before dropout; `nil` if z is x.
  public let normalization: NormalizedReLU?
  /// The elements of z that are kept and scaled; the others are 0.
  ///
  /// If `nil`, there is no dropout.
  public let dropout: DropoutMask?

  /// Creates an input.
  ///
  /// - Precondition: Dropout follows a normalization.
  public init(
    activation: UnsafePointer<Float>, normalization: NormalizedReLU?, dropout: DropoutMask? = nil
  ) {
    precondition(dropout == nil || normalization != nil, "dropout must follow batch norm and ReLU")
    self.activation = activation
    self.normalization = normalization
    self.dropout = dropout
  }

  /// Returns the input of microbatch `m`.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionInput {
    let offset = microbatches.images(of: m).lowerBound * g.inputCount
    return ConvolutionInput(
      activation: activation + offset, normalization: normalization?.microbatch(m),
      dropout: dropout?.advanced(by: offset))
  }
}

/// The output of a convolution: y = conv(z, weight) + bias (+ addend), and per-channel sums for the next batch norm.
public struct ConvolutionOutput {
  /// y, `NPQK`; overwritten.
  public let activation: UnsafeMutablePointer<Float>
  /// The addend of a residual add, `NPQK`, or `nil`; may be `activation` itself.
  public let addend: UnsafePointer<Float>?
  /// Per-microbatch sums, concatenated; overwritten: Σy (K values), then Σy² (K values).
  ///
  /// If `nil`, no sums are computed.
  public let sums: UnsafeMutablePointer<Double>?

  /// Creates an output.
  public init(
    activation: UnsafeMutablePointer<Float>, addend: UnsafePointer<Float>?,
    sums: UnsafeMutablePointer<Double>?
  ) {
    self.activation = activation
    self.addend = addend
    self.sums = sums
  }

  /// Returns the output of microbatch `m`.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionOutput {
    let offset = microbatches.images(of: m).lowerBound * g.outputCount
    return ConvolutionOutput(
      activation: activation + offset, addend: addend.map { $0 + offset },
      sums: sums.map { $0 + m * 2 * g.outputChannels })
  }
}

/// The backward pass of a batch norm as a per-channel map: ca·g + cb·y + cc.
///
/// The result is the gradient w.r.t. the batch norm's input y. g is the gradient w.r.t. its output, after the ReLU mask.
/// The coefficients collect the terms of Ioffe and Szegedy (arXiv 1502.03167, section 3) per channel.
public struct NormalizationBackward {
  /// y, the input of the batch norm, `NPQK`.
  public let activation: UnsafePointer<Float>
  /// ca, K values.
  public let gradientScale: UnsafePointer<Float>
  /// cb, K values.
  public let activationScale: UnsafePointer<Float>
  /// cc, K values.
  public let constant: UnsafePointer<Float>
  /// The distance between the coefficients of consecutive microbatches; 0 if all microbatches share them.
  public let microbatchStride: Int

  /// Creates the map from its coefficients.
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

  /// Returns the map of microbatch `m`, whose first element is at `offset`.
  fileprivate func microbatch(_ m: Int, offset: Int) -> NormalizationBackward {
    let row = m * microbatchStride
    return NormalizationBackward(
      activation: activation + offset, gradientScale: gradientScale + row,
      activationScale: activationScale + row, constant: constant + row)
  }
}

/// The gradient with respect to a convolution's output y: dY = (ca·g + cb·y + cc, or g itself) (+ addend).
public struct ConvolutionOutputGradient {
  /// g, `NPQK`.
  public let gradient: UnsafePointer<Float>
  /// The backward pass of the batch norm that follows y; `nil` if g is the gradient with respect to y.
  public let normalization: NormalizationBackward?
  /// The gradient that arrives through a skip connection, `NPQK`, or `nil`.
  public let addend: UnsafePointer<Float>?
  /// The destination of dY, `NPQK`, if a skip connection needs it; may be `gradient` or `addend`.
  public let savedGradient: UnsafeMutablePointer<Float>?

  /// Creates an output gradient.
  public init(
    gradient: UnsafePointer<Float>, normalization: NormalizationBackward? = nil,
    addend: UnsafePointer<Float>? = nil, savedGradient: UnsafeMutablePointer<Float>? = nil
  ) {
    self.gradient = gradient
    self.normalization = normalization
    self.addend = addend
    self.savedGradient = savedGradient
  }

  /// Returns the output gradient of microbatch `m`.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionOutputGradient {
    let offset = microbatches.images(of: m).lowerBound * g.outputCount
    return ConvolutionOutputGradient(
      gradient: gradient + offset, normalization: normalization?.microbatch(m, offset: offset),
      addend: addend.map { $0 + offset }, savedGradient: savedGradient.map { $0 + offset })
  }
}

/// The destinations of the gradients of a convolution's weight and bias, one per microbatch.
public struct ConvolutionParameterGradient {
  /// Per microbatch the address of dW (`RSCK`), followed by dB (K values) if there is a bias; overwritten.
  public let destinations: UnsafePointer<UnsafeMutablePointer<Float>>
  /// Whether the convolution has a bias.
  public let hasBias: Bool
  /// Whether the dW of microbatches 2i and 2i + 1 of a call are summed, in the memory of the former.
  ///
  /// The memory of the latter then has its dB, and an unspecified dW.
  public let sumsPairs: Bool

  /// Creates the destinations from their addresses.
  public init(
    destinations: UnsafePointer<UnsafeMutablePointer<Float>>, hasBias: Bool, sumsPairs: Bool = false
  ) {
    self.destinations = destinations
    self.hasBias = hasBias
    self.sumsPairs = sumsPairs
  }

  /// Returns the memory of microbatch `m` for its dW, `RSCK`.
  public func weight(_ m: Int) -> UnsafeMutablePointer<Float> { destinations[m] }

  /// Returns where the dW of microbatch `m` belongs, `RSCK`, and whether it is added to what is there.
  ///
  /// The microbatches of a call must be computed in order.
  public func weightSum(_ m: Int) -> (target: UnsafeMutablePointer<Float>, isAdded: Bool) {
    let isAdded = sumsPairs && !m.isMultiple(of: 2)
    return (destinations[isAdded ? m - 1 : m], isAdded)
  }

  /// Sums pairs, if asked to, where every microbatch has written its dW to its memory.
  public func sumPairs(microbatchCount: Int, _ g: ConvolutionGeometry) {
    guard sumsPairs else { return }
    for m in stride(from: 1, to: microbatchCount, by: 2) {
      let (sum, addend) = (destinations[m - 1], destinations[m])
      for i in 0..<g.weightCount { sum[i] += addend[i] }
    }
  }

  /// Returns dB of microbatch `m`, the per-channel sum of dY (K values), or `nil` without a bias.
  public func bias(_ m: Int, _ g: ConvolutionGeometry) -> UnsafeMutablePointer<Float>? {
    hasBias ? destinations[m] + g.weightCount : nil
  }
}

/// The destination of the gradient with respect to a convolution's input x, and a gradient that is added to it.
///
/// Let d be the factor of an element's dropout: the mask's scale, 0, or 1 without dropout. With sums, the result is the
/// gradient w.r.t. the batch norm's output, g' = scale·x + shift <= 0 ? 0 : d·dZ (+ addend). The two per-channel sums give
/// the gradients w.r.t. beta and gamma. Without sums, the result is d·dZ (+ addend), also for an input with batch norm:
/// the contribution of one of several readers, which the last reader adds, masks and sums.
public struct ConvolutionInputGradient {
  /// The result, `NHWC`; overwritten; does not overlap the output gradient.
  public let gradient: UnsafeMutablePointer<Float>
  /// The per-channel mean of x, C values per microbatch or for all; unused without sums.
  public let mean: UnsafePointer<Float>?
  /// Per-microbatch sums, concatenated; overwritten: Σg' (C values), then Σg'·(x − mean) (C values).
  ///
  /// If `nil`, nothing is masked or summed.
  public let sums: UnsafeMutablePointer<Double>?
  /// The contribution of the other readers of z, `NHWC`, or `nil`; may be `gradient` itself.
  public let addend: UnsafePointer<Float>?
  /// The distance between the means of consecutive microbatches; 0 if all microbatches share them.
  public let microbatchStride: Int

  /// Creates a destination.
  ///
  /// - Precondition: Sums need a mean.
  public init(
    gradient: UnsafeMutablePointer<Float>, mean: UnsafePointer<Float>? = nil,
    sums: UnsafeMutablePointer<Double>? = nil, addend: UnsafePointer<Float>? = nil, microbatchStride: Int = 0
  ) {
    precondition(sums == nil || mean != nil, "the sums of an input gradient need the mean of x")
    self.gradient = gradient
    self.mean = mean
    self.sums = sums
    self.addend = addend
    self.microbatchStride = microbatchStride
  }

  /// Returns the destination of microbatch `m`.
  public func microbatch(
    _ m: Int, of microbatches: MicrobatchRange, _ g: ConvolutionGeometry
  ) -> ConvolutionInputGradient {
    let offset = microbatches.images(of: m).lowerBound * g.inputCount
    return ConvolutionInputGradient(
      gradient: gradient + offset, mean: mean.map { $0 + m * microbatchStride },
      sums: sums.map { $0 + m * 2 * g.inputChannels }, addend: addend.map { $0 + offset })
  }
}
