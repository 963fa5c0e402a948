import KernelDiagnostics
import Tensors
import Testing

/// The least work of each phase, counted by hand for one shape of each algorithm.
@Suite struct PhaseBoundTests {
  /// Four images in two microbatches, as `benchmark convolution --phases` times them.
  private func bound(_ phase: ConvolutionPhase, isForward: Bool, _ shape: ConvolutionGeometry, _ algorithm: String)
    -> PhaseBound?
  {
    PhaseBound(phase, isForward: isForward, shape, algorithm: algorithm, batchSize: 4, microbatches: 2)
  }

  @Test func winograd() {
    let shape = ConvolutionGeometry(
      inputHeight: 16, inputWidth: 16, inputChannels: 32, outputChannels: 64, kernelSize: 3, stride: 1)
    // 16 tiles per image, of 36 positions.
    let (x, y) = (4.0 * 4 * 256 * 32, 4.0 * 4 * 256 * 64)
    let (v, m) = (4.0 * 36 * 64 * 32, 4.0 * 36 * 64 * 64)
    let products = 2.0 * 36 * 64 * 32 * 64
    let expected: [(ConvolutionPhase, Bool, PhaseBound.Limit, Double)] = [
      (.inputPrologue, true, .memory, x), (.inputTransform, true, .cache, x + v),
      (.products, true, .multiplyAdds, products), (.outputTransform, true, .cache, y + m),
      (.epilogue, true, .memory, y), (.outputGradientPrologue, false, .memory, 2 * y),
      (.outputGradientTransform, false, .cache, y + m), (.windowTransform, false, .cache, y + m),
      (.products, false, .multiplyAdds, products), (.weightGradientProducts, false, .multiplyAdds, products),
      (.outputTransform, false, .cache, x + v), (.weightGradientTransform, false, .cache, 4.0 * 2 * 45 * 32 * 64),
      (.epilogue, false, .memory, 2 * x),
    ]
    for (phase, isForward, limit, work) in expected {
      let bound = bound(phase, isForward: isForward, shape, "winograd")
      #expect(bound?.limit == limit && bound?.work == work, "\(phase), forward: \(isForward)")
    }
    #expect(PhaseBound(packing: shape, algorithm: "winograd").work == 4.0 * 45 * 32 * 64)
  }

  @Test func polyphase() {
    let shape = ConvolutionGeometry(
      inputHeight: 32, inputWidth: 32, inputChannels: 16, outputChannels: 32, kernelSize: 3, stride: 2)
    #expect(bound(.products, isForward: true, shape, "polyphase")?.work == 2.0 * 81 * 64 * 16 * 32)
    let v = 4.0 * 81 * 64 * 16
    #expect(bound(.inputTransform, isForward: true, shape, "polyphase")?.work == 4.0 * 4 * 1024 * 16 + v)
  }

  /// Products over pixels have no transforms, and the multiply-adds of the definition.
  @Test(arguments: ["pointwise", "direct"])
  func others(algorithm: String) {
    let shape = ConvolutionGeometry(
      inputHeight: 8, inputWidth: 8, inputChannels: 16, outputChannels: 32, kernelSize: 1, stride: 1)
    for phase in ConvolutionPhase.allCases {
      #expect((bound(phase, isForward: false, shape, algorithm) == nil) == phase.isTransform, "\(phase)")
    }
    #expect(bound(.products, isForward: true, shape, algorithm)?.work == 2.0 * 4 * 64 * 16 * 32)
    #expect(PhaseBound(packing: shape, algorithm: algorithm).work == 4.0 * 2 * 16 * 32)
  }
}
