import KernelDiagnostics
import Models
import Tensors
import Testing

/// The algorithm of each convolution: a table that changes only on purpose, and never with the machine.
@Suite struct AlgorithmTableTests {
  /// The table of WRN-d-k for any depth: shape by shape in forward order.
  private static func expected(_ k: Int) -> [String] {
    // At k = 1 the first group's shapes are one.
    let first = k == 1 ? [] : ["32×32, \(16 * k)→\(16 * k): winograd"]
    return ["32×32, 3→16: direct", "32×32, 16→\(16 * k): winograd"] + first + [
      "32×32, \(16 * k)→\(32 * k), stride 2: polyphase", "16×16, \(32 * k)→\(32 * k): winograd",
      "16×16, \(32 * k)→\(64 * k), stride 2: polyphase", "8×8, \(64 * k)→\(64 * k): winograd",
    ]
  }

  @Test(arguments: [1, 2, 3, 4, 10], InstructionSet.allCases.filter(\.isSupported))
  func everyShape(k: Int, instructionSet: InstructionSet) throws {
    let engine = NativeConvolutionEngine(instructionSet)
    let network = TraxWideResNet.graph(try WideResNetConfiguration(depth: 22, widenFactor: k))
    let table = network.distinctConvolutions.map { "\($0.geometry.summary): \(engine.algorithm($0.geometry))" }
    #expect(table == Self.expected(k))
    #expect(network.distinctConvolutions.reduce(0) { $0 + $1.count } == 22)
  }

  /// Pre-activation Wide ResNets on images of other sizes: 3×3 weights with padding 1, 1×1 weights with padding 0.
  ///
  /// Tiles may reach beyond an image; where they would cover little of it, direct products are faster.
  private static let otherShapes: [(size: Int, channels: [Int], stride: Int, kernel: Int, algorithm: String)] = [
    (24, [64, 64], 1, 3, "winograd"), (12, [128, 128], 1, 3, "winograd"), (6, [256, 256], 1, 3, "winograd"),
    (7, [256, 256], 1, 3, "winograd"), (5, [256, 256], 1, 3, "winograd"), (2, [64, 64], 1, 3, "winograd"),
    (1, [64, 64], 1, 3, "direct"), (6, [20, 16], 1, 3, "direct"),
    (24, [64, 128], 2, 3, "polyphase"), (28, [64, 128], 2, 3, "polyphase"), (14, [128, 256], 2, 3, "polyphase"),
    (20, [64, 128], 2, 3, "polyphase"), (12, [128, 256], 2, 3, "direct"), (10, [128, 256], 2, 3, "direct"),
    (32, [16, 64], 1, 1, "pointwise"), (32, [64, 128], 2, 1, "pointwise"), (7, [128, 256], 2, 1, "pointwise"),
    (8, [24, 32], 1, 1, "direct"),
  ]

  @Test(arguments: InstructionSet.allCases.filter(\.isSupported))
  func otherSizes(instructionSet: InstructionSet) {
    let engine = NativeConvolutionEngine(instructionSet)
    for shape in Self.otherShapes {
      let geometry = ConvolutionGeometry(
        inputHeight: shape.size, inputWidth: shape.size, inputChannels: shape.channels[0],
        outputChannels: shape.channels[1], kernelSize: shape.kernel, stride: shape.stride,
        padding: shape.kernel == 3 ? 1 : 0)
      #expect(engine.algorithm(geometry) == shape.algorithm, "\(geometry.summary)")
      #expect(geometry.summary.hasSuffix(", 1×1") == (shape.kernel == 1))
    }
  }
}
