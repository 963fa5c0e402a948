import Tensors

/// The least time that a phase of a convolution can take on one core.
///
/// It is that of the roofline model (Williams, Waterman and Patterson, CACM 52, 2009). Products are bound by the peak of
/// multiply-adds. Transforms read and write arrays that stay in the L2 cache. Prologues and epilogues read or write the tensors
/// of the batch in memory. Each count is the least that the algorithm needs. A phase can be faster than its bound of memory
/// where a cache holds the batch, or where products have prefetched it.
public struct PhaseBound: Sendable {
  /// What bounds a phase.
  public enum Limit: String, Encodable, Sendable {
    case multiplyAdds = "FMA"
    case cache = "L2"
    case memory
  }

  /// What bounds the phase.
  public let limit: Limit
  /// The floating-point operations or bytes that the phase needs per batch.
  public let work: Double

  /// Returns the bound of a phase, or `nil` if the algorithm has no such phase.
  ///
  /// - Parameters:
  ///   - phase: The phase.
  ///   - isForward: Whether it belongs to the forward pass.
  ///   - geometry: The convolution.
  ///   - algorithm: Its algorithm, as the engine names it.
  ///   - batchSize: Images per batch.
  ///   - microbatches: Microbatches per batch: each has its own weight gradient.
  public init?(
    _ phase: ConvolutionPhase, isForward: Bool, _ geometry: ConvolutionGeometry, algorithm: String, batchSize: Int,
    microbatches: Int
  ) {
    let (g, batch) = (geometry, Double(batchSize))
    let (input, output) = (4 * batch * Double(g.inputCount), 4 * batch * Double(g.outputCount))
    let tiles = batch * Double(((g.outputHeight + 3) / 4) * ((g.outputWidth + 3) / 4))
    // A transformed tile has 36 or 81 positions.
    let positions: Double? = algorithm == "winograd" ? 36 : algorithm == "polyphase" ? 81 : nil
    if positions == nil && phase.isTransform { return nil }
    func transformed(_ channels: Int) -> Double { 4 * (positions ?? 0) * tiles * Double(channels) }
    let products =
      2 * (positions.map { $0 * tiles * Double(g.inputChannels * g.outputChannels) } ?? batch * Double(g.multiplyAdds))
    switch phase {
    case .inputPrologue: (limit, work) = (.memory, input)
    case .outputGradientPrologue: (limit, work) = (.memory, 2 * output)
    case .inputTransform: (limit, work) = (.cache, input + transformed(g.inputChannels))
    case .outputGradientTransform, .windowTransform: (limit, work) = (.cache, output + transformed(g.outputChannels))
    case .products, .weightGradientProducts: (limit, work) = (.multiplyAdds, products)
    case .outputTransform:
      (limit, work) = (
        .cache, isForward ? output + transformed(g.outputChannels) : input + transformed(g.inputChannels)
      )
    case .weightGradientTransform:
      (limit, work) = (.cache, 4 * Double(microbatches * (36 + 9) * g.inputChannels * g.outputChannels))
    case .epilogue: (limit, work) = (.memory, isForward ? output : 2 * input)
    }
  }

  /// The bound of transforming or packing a weight: it is read, and 36 matrices or 9 taps are written.
  public init(packing geometry: ConvolutionGeometry, algorithm: String) {
    let isTiled = algorithm == "winograd" || algorithm == "polyphase"
    let weights = Double(geometry.weightCount)
    limit = .cache
    work = 4 * (weights + (isTiled ? 36 * Double(geometry.inputChannels * geometry.outputChannels) : weights))
  }

  /// Returns the least seconds on a core with these limits.
  public func seconds(_ roofline: MachineRoofline) -> Double {
    switch limit {
    case .multiplyAdds: work / roofline.flops
    case .cache: work / roofline.cacheBytesPerSecond
    case .memory: work / roofline.bytesPerSecond
    }
  }
}
