/// The map from raw pixels to a model's input.
public enum PixelNormalization: Sendable {
  /// Raw values 0 … 255.
  case none
  /// (value − mean) / std, per red, green and blue; in units of raw values 0 … 255.
  case meanStd(mean: SIMD3<Double>, std: SIMD3<Double>)
  /// Global contrast normalization, then ZCA whitening.
  case zca(ZCAWhitening)

  /// Means and standard deviations of CIFAR-10's training images, as the authors of Wide ResNets use them.
  ///
  /// Zagoruyko and Komodakis, `pytorch/main.py` of szagoruyko/wide-residual-networks.
  public static let cifar10 = PixelNormalization.meanStd(
    mean: SIMD3(125.3, 123.0, 113.9), std: SIMD3(63.0, 62.1, 66.7))
  /// Means and standard deviations of CIFAR-100's training images, from the same source.
  public static let cifar100 = PixelNormalization.meanStd(
    mean: SIMD3(129.3, 124.1, 112.4), std: SIMD3(68.2, 65.4, 70.4))

  /// The kind of the normalization, without its constants.
  public var mode: NormalizationMode {
    switch self {
    case .none: .none
    case .meanStd: .meanStd
    case .zca: .zca
    }
  }

  /// The input values of the 256 raw values of a channel, `[channel, value]`.
  ///
  /// Computed in Double and rounded once. Under ``zca(_:)``, whose values depend on the whole image, they are raw.
  func lookupTable() -> [Float] {
    (0..<3).flatMap { c in
      (0..<256).map { value in
        guard case .meanStd(let mean, let std) = self else { return Float(value) }
        return Float((Double(value) - mean[c]) / std[c])
      }
    }
  }
}

/// The kinds of pixel normalization.
public enum NormalizationMode: String, Codable, CaseIterable, Sendable {
  /// Raw values 0 … 255.
  case none
  /// Mean 0 and standard deviation 1 per color channel.
  case meanStd = "mean-std"
  /// Global contrast normalization, then ZCA whitening.
  case zca
}
