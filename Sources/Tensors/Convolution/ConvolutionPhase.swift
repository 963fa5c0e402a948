/// A phase of a convolution's forward or backward pass, as `wrn-dist benchmark convolution --phases` reports it.
public enum ConvolutionPhase: Int, CaseIterable, Sendable {
  /// Batch norm, ReLU and dropout of the input, into padded images.
  case inputPrologue
  /// The terms of the output gradient, into padded images.
  case outputGradientPrologue
  /// V, the transformed input.
  case inputTransform
  /// D, the transformed output gradient of the weight gradient.
  case outputGradientTransform
  /// E, the transformed output gradient of the input gradient.
  case windowTransform
  /// The products of the output or of the input gradient.
  case products
  /// The products of the weight gradient.
  case weightGradientProducts
  /// The inverse transform of the output or of the input gradient.
  case outputTransform
  /// The inverse transform of the weight gradient.
  case weightGradientTransform
  /// Bias, addend and sums of the output, or masks and sums of the input gradient.
  case epilogue

  /// Whether only algorithms with tiles have the phase.
  public var isTransform: Bool {
    switch self {
    case .inputTransform, .outputGradientTransform, .windowTransform, .outputTransform, .weightGradientTransform: true
    case .inputPrologue, .outputGradientPrologue, .products, .weightGradientProducts, .epilogue: false
    }
  }
}

/// The time that passes have spent in each phase, in ticks of the CPU's counter.
///
/// The ticks of all phases together are those of the passes, so a phase's share of the sum is its share of the time.
public struct PhaseTicks: @unchecked Sendable {
  /// The ticks of every ``ConvolutionPhase``, by its raw value; one thread at a time adds to them.
  public let counts: UnsafeMutablePointer<UInt64>

  /// Wraps memory for ``ConvolutionPhase/allCases`` counts that the caller has initialized and keeps.
  public init(_ counts: UnsafeMutablePointer<UInt64>) { self.counts = counts }
}
