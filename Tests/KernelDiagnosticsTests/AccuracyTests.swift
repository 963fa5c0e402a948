import KernelDiagnostics
import Models
import Tensors
import Testing

/// The contract of `docs/numerics.md`: the largest error of each operation relative to float64.
@Suite struct AccuracyTests {
  /// The largest relative L2 error and max error over RMS, by algorithm and operation.
  private static func limit(_ algorithm: String, _ operation: KernelDiagnostics.Operation) -> (
    l2: Double, maxOverRMS: Double
  ) {
    switch (algorithm, operation) {
    case ("direct", .forward), ("pointwise", .forward): (6e-7, 1e-5)
    case ("direct", .inputGradient), ("pointwise", .inputGradient): (6e-7, 1.5e-5)
    case ("direct", _), ("pointwise", _): (2e-6, 1.5e-5)
    case ("polyphase", _): (1.5e-6, 2.5e-5)
    default: (3e-6, 3e-5)
    }
  }

  @Test(arguments: [1, 2, 4])
  func everyShape(k: Int) throws {
    let network = TraxWideResNet.graph(try WideResNetConfiguration(depth: 22, widenFactor: k))
    for instructionSet in InstructionSet.allCases.filter(\.isSupported).prefix(1) {
      let engine = NativeConvolutionEngine(instructionSet)
      for (geometry, _) in network.distinctConvolutions { check(geometry, engine) }
    }
  }

  /// Pointwise products, and tiles that reach beyond the image.
  @Test(arguments: [
    (32, 16, 64, 1, 1), (32, 64, 128, 2, 1), (16, 128, 256, 2, 1), (12, 64, 64, 1, 1), (6, 128, 128, 1, 3),
    (7, 64, 64, 1, 3), (14, 64, 128, 2, 3), (12, 64, 128, 2, 3),
  ])
  func otherShapes(size: Int, inputs: Int, outputs: Int, stride: Int, kernel: Int) {
    let geometry = ConvolutionGeometry(
      inputHeight: size, inputWidth: size, inputChannels: inputs, outputChannels: outputs, kernelSize: kernel,
      stride: stride, padding: kernel / 2)
    for instructionSet in InstructionSet.allCases.filter(\.isSupported).prefix(1) {
      check(geometry, NativeConvolutionEngine(instructionSet))
    }
  }

  private func check(_ geometry: ConvolutionGeometry, _ engine: NativeConvolutionEngine) {
    let algorithm = engine.algorithm(geometry)
    let study = AccuracyStudy(geometry, imageCount: 8, engine: engine)
    #expect(study.entries.count == (geometry.inputChannels == 3 ? 2 : 3))
    for entry in study.entries {
      let (l2, largest) = Self.limit(algorithm, entry.operation)
      let location = "\(geometry.summary), \(entry.operation.rawValue)"
      #expect(entry.engine.relativeL2 < l2 && entry.engine.maxOverRMS < largest, "\(location): \(entry.engine)")
      #expect(entry.engine.relativeL2 > 1e-9 && entry.naive.relativeL2 > 1e-9, "\(location): fp32 rounds")
      // The yardstick itself: sums of n terms, each rounded.
      #expect(entry.naive.relativeL2 < 3e-6, "\(location): \(entry.naive)")
    }
  }

  @Test func errorsAreMeasuredAsTheyAreDefined() {
    let error = ApproximationError([1, 2, 3, 4.5], exact: [1, 2, 3, 4])
    #expect(abs(error.relativeL2 - 0.5 / 30.0.squareRoot()) < 1e-15)
    #expect(abs(error.maxOverRMS - 0.5 / 7.5.squareRoot()) < 1e-15)
    #expect(ApproximationError([0, 0], exact: [0, 0]).maxOverRMS == 0)
    #expect(ApproximationError([.nan, 0], exact: [1, 0]).relativeL2 == .infinity)
  }
}
