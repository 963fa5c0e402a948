// What a convolution engine reads and writes for one microbatch. Batch normalisation, ReLU, bias and residual addition are
// part of the operands, so that an engine can do them while an image is in cache and no normalised, rectified or padded
// tensor is ever stored. All activations are NHWC, `imageCount` images one after another.

/// A per-channel affine map followed by ReLU: z = max(0, scale·x + shift).
public struct NormalizedReLU {
  /// gamma / sqrt(variance + epsilon), one number a channel.
  public let scale: UnsafePointer<Float>
  /// beta − mean·scale, one number a channel.
  public let shift: UnsafePointer<Float>

  /// Makes the map from its coefficients.
  public init(scale: UnsafePointer<Float>, shift: UnsafePointer<Float>) {
    self.scale = scale
    self.shift = shift
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
}

/// What a convolution writes: y = conv(z) + bias (+ addend), and its per-channel sums.
public struct ConvolutionOutput {
  /// y, `NPQK`.
  public let activation: UnsafeMutablePointer<Float>
  /// Added to every element if there is one; may be `activation` itself.
  public let addend: UnsafePointer<Float>?
  /// Where Σy (K numbers) and Σy² (K numbers) over the microbatch go, overwritten; nil if nobody needs them.
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
}

/// The map from the gradient behind a batch normalisation and ReLU to the gradient before it: ca·g + cb·y + cc, with g
/// already masked by the ReLU (Ioffe and Szegedy, arXiv 1502.03167, section 3, collected per channel).
public struct NormalizationGradient {
  /// y, the tensor that was normalised, `NPQK`.
  public let activation: UnsafePointer<Float>
  /// ca, K numbers.
  public let gradientScale: UnsafePointer<Float>
  /// cb, K numbers.
  public let activationScale: UnsafePointer<Float>
  /// cc, K numbers.
  public let constant: UnsafePointer<Float>

  /// Makes the map.
  public init(
    activation: UnsafePointer<Float>, gradientScale: UnsafePointer<Float>,
    activationScale: UnsafePointer<Float>, constant: UnsafePointer<Float>
  ) {
    self.activation = activation
    self.gradientScale = gradientScale
    self.activationScale = activationScale
    self.constant = constant
  }
}

/// The loss's gradient with respect to a convolution's output y: dY = (ca·g + cb·y + cc, or g itself) (+ addend).
public struct ConvolutionOutputGradient {
  /// g, `NPQK`.
  public let gradient: UnsafePointer<Float>
  /// The batch normalisation between g and y; nil if g is the gradient of y.
  public let normalization: NormalizationGradient?
  /// Added to every element if there is one: what reaches y by a skip connection.
  public let addend: UnsafePointer<Float>?
  /// Where dY is kept for a skip connection; may be `gradient` or `addend`; nil if nobody needs it.
  public let stored: UnsafeMutablePointer<Float>?

  /// Makes an output gradient.
  public init(
    gradient: UnsafePointer<Float>, normalization: NormalizationGradient? = nil,
    addend: UnsafePointer<Float>? = nil, stored: UnsafeMutablePointer<Float>? = nil
  ) {
    self.gradient = gradient
    self.normalization = normalization
    self.addend = addend
    self.stored = stored
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
  /// Where Σg' (C numbers) and Σg'·(x − mean) (C numbers) over the microbatch go; nil without normalisation.
  public let sums: UnsafeMutablePointer<Double>?

  /// Makes a destination.
  public init(
    gradient: UnsafeMutablePointer<Float>, mean: UnsafePointer<Float>? = nil,
    sums: UnsafeMutablePointer<Double>? = nil
  ) {
    self.gradient = gradient
    self.mean = mean
    self.sums = sums
  }
}
