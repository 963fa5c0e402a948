import Foundation
import Models
import Tensors
import Testing

/// Names, counts and initial values of the network's tensors.
@Suite struct WideResNetTests {
  private func graph(_ depth: Int, _ k: Int) throws -> ModelGraph {
    TraxWideResNet.graph(try WideResNetConfiguration(depth: depth, widenFactor: k))
  }

  @Test(arguments: [(1, 295_866), (2, 1_167_242), (3, 2_614_618), (4, 4_637_994)])
  func parameterCounts(widenFactor: Int, count: Int) throws {
    #expect(try graph(22, widenFactor).parameterCount == count)
  }

  /// Counted from the layers: convolutions with bias, two numbers a channel of every norm, the dense layer.
  @Test(arguments: [(10, 1), (16, 3), (28, 10), (40, 4)])
  func parameterCountsOfOtherDepths(depth: Int, k: Int) throws {
    let n = (depth - 4) / 6
    func convolution(_ inputs: Int, _ outputs: Int) -> Int { 9 * inputs * outputs + outputs }
    var count = convolution(3, 16)
    var inputs = 16
    for outputs in [16 * k, 32 * k, 64 * k] {
      count += convolution(inputs, outputs)
      for block in 0..<n {
        let c = block == 0 ? inputs : outputs
        count += 2 * c + convolution(c, outputs) + 2 * outputs + convolution(outputs, outputs)
      }
      inputs = outputs
    }
    count += 2 * inputs + 10 * inputs + 10
    let graph = try graph(depth, k)
    #expect(graph.parameterCount == count)
    #expect(graph.parameterLayout.parameters.count == 2 + 3 * (2 + 8 * n) + 4)
    #expect(graph.name == "WRN-\(depth)-\(k)")
  }

  @Test func namesAreThoseOfThePyTorchTwin() throws {
    let graph = try graph(22, 2)
    var names = ["stem.weight", "stem.bias"]
    for g in 0..<3 {
      names += ["groups.\(g).shortcut.weight", "groups.\(g).shortcut.bias"]
      for b in 0..<3 {
        // Trax's flat order has a norm's shift before its scale.
        for part in [
          "norm1.bias", "norm1.weight", "conv1.weight", "conv1.bias", "norm2.bias", "norm2.weight", "conv2.weight",
          "conv2.bias",
        ] {
          names.append("groups.\(g).blocks.\(b).\(part)")
        }
      }
    }
    names += ["norm.bias", "norm.weight", "head.weight", "head.bias"]
    #expect(graph.parameterLayout.parameters.map(\.name) == names)
    let norms = names.filter { $0.hasSuffix(".bias") && $0.contains("norm") }.map { $0.dropLast(5) }
    #expect(
      graph.statisticsLayout.parameters.map(\.name) == norms.flatMap { ["\($0).running_mean", "\($0).running_var"] })
  }

  @Test(arguments: [(9, 1), (23, 1), (4, 1), (22, 0), (22, 65)])
  func configurationsThatNoNetworkHas(depth: Int, widenFactor: Int) {
    #expect(throws: InvalidModel.self) {
      try WideResNetConfiguration(depth: depth, widenFactor: widenFactor)
    }
  }

  @Test func initialValuesHaveTheirDistributions() throws {
    let graph = try graph(22, 4)
    let (parameters, running) = (
      ParameterStore(graph.parameterLayout), ParameterStore(graph.statisticsLayout)
    )
    graph.initialize(parameters, running, seed: 3)
    for parameter in graph.parameterLayout.parameters {
      let values = parameters[parameter].map(Double.init)
      let shape = parameter.shape
      switch parameter.kind {
      // Trax's GlorotNormal takes channels for fans, without the kernel's extent.
      case .convolutionWeight:
        expectNormal(values, (2 / Double(shape[2] + shape[3])).squareRoot(), parameter.name)
      case .bias: expectNormal(values, 1e-6, parameter.name)
      case .denseWeight:
        let limit = (6 / Double(shape[0] + shape[1])).squareRoot()
        expectDistribution(values, parameter.name) { min(max(($0 / limit + 1) / 2, 0), 1) }
      case .scale: #expect(values.allSatisfy { $0 == 1 }, "\(parameter.name)")
      default: #expect(values.allSatisfy { $0 == 0 }, "\(parameter.name)")
      }
    }
    for parameter in graph.statisticsLayout.parameters {
      let expected: Float = parameter.kind == .runningMean ? 0 : 1
      #expect(running[parameter].allSatisfy { $0 == expected }, "\(parameter.name)")
    }
  }

  private func expectNormal(_ values: [Double], _ deviation: Double, _ name: String) {
    expectDistribution(values, name) { 0.5 * erfc(-$0 / deviation / 2.0.squareRoot()) }
  }

  /// Kolmogorov and Smirnov's distance; 2.2/√n is exceeded once in 8,000 true samples, and the seed is fixed.
  private func expectDistribution(_ values: [Double], _ name: String, _ cumulative: (Double) -> Double) {
    let count = Double(values.count)
    let distance =
      values.sorted().enumerated().map { i, value in
        max(abs(cumulative(value) - Double(i) / count), abs(cumulative(value) - Double(i + 1) / count))
      }.max() ?? 1
    #expect(distance < 2.2 / count.squareRoot(), "\(name)")
  }

  /// The same bits on every machine: a few values as they are.
  @Test func initialValuesArePinned() throws {
    let graph = try graph(22, 1)
    let (parameters, running) = (
      ParameterStore(graph.parameterLayout), ParameterStore(graph.statisticsLayout)
    )
    graph.initialize(parameters, running, seed: 0)
    let bits = parameters.elements.reduce(UInt64(0)) { ($0 ^ UInt64($1.bitPattern)) &* 0x100_0000_01b3 }
    #expect(bits == 4_921_211_251_126_770_581)
    graph.initialize(parameters, running, seed: 1)
    #expect(parameters.elements.reduce(UInt64(0)) { ($0 ^ UInt64($1.bitPattern)) &* 0x100_0000_01b3 } != bits)
  }
}
