import KernelDiagnostics
import Models
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
}
