/// Clipping of the gradient by its global norm (Pascanu et al., arXiv:1211.5063).
public enum GradientClipping {
  /// The factor by which clipping multiplies all gradients, as PyTorch's `torch.nn.utils.clip_grad_norm_` computes it.
  ///
  /// The factor is min(1, maximum / (norm + 1e-6)), so a gradient whose norm equals the maximum is scaled, too. An
  /// infinite norm gives 0 and NaN gives NaN, as in PyTorch. Computes in Double: the bits are the same on every machine.
  ///
  /// - Parameters:
  ///   - norm: The Euclidean norm of the gradient of all parameters.
  ///   - maximumNorm: The largest norm after clipping. Pass 0 for no clipping.
  /// - Returns: ``UpdateStep/gradientScale``, in [0, 1].
  /// - Precondition: `maximumNorm` is not negative.
  public static func scale(norm: Double, maximumNorm: Double) -> Float {
    precondition(maximumNorm >= 0, "a norm is not negative")
    guard maximumNorm > 0 else { return 1 }
    let factor = maximumNorm / (norm + 1e-6)
    // Written so that NaN is not mistaken for 1.
    return factor > 1 ? 1 : Float(factor)
  }
}
