import Models
import Tensors
import Testing

/// The paper's family: names, exact counts of parameters and multiply-adds, and what cannot be built.
@Suite struct PreActivationWideResNetTests {
  private func graph(_ depth: Int, _ k: Int, _ block: [Int] = [3, 3], imageSize: Int = 32) throws -> ModelGraph {
    try WideResNetConfiguration(architecture: .wrn, depth: depth, widenFactor: k, block: block).graph(
      imageSize: imageSize)
  }

  /// Computed from the released code; WRN-40-4 is also in its published log.
  @Test(arguments: [
    (10, 1, 77_850), (16, 1, 175_066), (16, 2, 691_674), (16, 4, 2_748_890), (22, 1, 272_282), (22, 2, 1_079_642),
    (22, 3, 2_421_786), (22, 4, 4_298_970), (28, 1, 369_498), (28, 2, 1_467_610), (52, 1, 758_362), (40, 1, 563_930),
    (40, 2, 2_243_546), (40, 4, 8_949_210), (40, 8, 35_748_314), (28, 10, 36_479_194), (28, 12, 52_517_850),
    (22, 8, 17_158_106), (22, 10, 26_797_914), (16, 8, 10_961_370), (16, 10, 17_116_634),
  ])
  func parameterCounts(depth: Int, k: Int, count: Int) throws {
    #expect(try graph(depth, k).parameterCount == count)
  }

  /// Table 2 of the paper, in the order of its lines.
  @Test(arguments: [
    (40, [1, 3, 1], 1_429_082), (40, [3, 1], 1_211_354), (40, [1, 3], 1_297_370), (40, [3, 1, 1], 1_343_066),
    (28, [3, 3], 1_467_610), (22, [3, 1, 3], 1_145_498),
  ])
  func parameterCountsOfBlockTypes(depth: Int, block: [Int], count: Int) throws {
    #expect(try graph(depth, 2, block).parameterCount == count)
  }

  /// In millions, from the released code's shapes.
  @Test(arguments: [(16, 1, 26.7), (16, 2, 101.1), (16, 4, 392.6), (28, 2, 214.4), (28, 10, 5243.3), (40, 4, 1298.6)])
  func multiplyAdds(depth: Int, k: Int, millions: Double) throws {
    #expect(abs(Double(try graph(depth, k).multiplyAdds) / 1e6 - millions) < 0.06)
  }

  @Test func namesAreThoseOfThePyTorchTwin() throws {
    let names = try graph(10, 2, [3, 1, 3]).parameterLayout.parameters.map(\.name)
    var expected = ["stem.weight"]
    for g in 0..<3 {
      let block = "groups.\(g).blocks.0"
      expected += ["\(block).norm1.bias", "\(block).norm1.weight", "\(block).shortcut.weight", "\(block).conv1.weight"]
      for i in 2...3 { expected += ["\(block).norm\(i).bias", "\(block).norm\(i).weight", "\(block).conv\(i).weight"] }
    }
    expected += ["norm.bias", "norm.weight", "head.weight", "head.bias"]
    #expect(names == expected)
  }

  /// With k = 1 the first group keeps the stem's width: its skip is the block's input.
  @Test func theFirstGroupOfWidthOneHasNoShortcut() throws {
    let shortcuts = try graph(16, 1).parameterLayout.parameters.map(\.name).filter { $0.contains("shortcut") }
    #expect(shortcuts == ["groups.1.blocks.0.shortcut.weight", "groups.2.blocks.0.shortcut.weight"])
  }

  @Test func everyConvolutionIsPaddedSymmetricallyAndHasNoBias() throws {
    let graph = try graph(16, 2, [3, 1])
    for layer in graph.convolutionLayers {
      #expect(layer.bias == nil, "\(layer.name)")
      #expect(layer.geometry.paddingBefore == (layer.geometry.kernelSize - 1) / 2, "\(layer.name)")
    }
    let strides = graph.convolutionLayers.filter { $0.geometry.stride == 2 }.map(\.name)
    #expect(
      Set(strides)
        == Set((1...2).flatMap { ["groups.\($0).blocks.0.conv1", "groups.\($0).blocks.0.shortcut"] }))
  }

  /// Image sizes change geometries, but neither names nor shapes of parameters.
  @Test(arguments: [8, 16, 20, 24, 28])
  func otherImageSizes(size: Int) throws {
    let (small, full) = (try graph(16, 2, imageSize: size), try graph(16, 2))
    #expect(small.parameterLayout == full.parameterLayout && small.statisticsLayout == full.statisticsLayout)
    #expect(small.imageSize == size && small.multiplyAdds < full.multiplyAdds)
    #expect(small.convolutions.last?.outputHeight == (size + 3) / 4)
  }

  @Test(arguments: [[2], [3, 3, 5], [], [3, 3, 3, 3, 3]])
  func blocksThatNoNetworkHas(block: [Int]) {
    #expect(throws: InvalidModel.self) { try WideResNetConfiguration(architecture: .wrn, block: block) }
  }

  @Test(arguments: [-0.1, 1, .nan])
  func probabilitiesThatNoDropoutHas(probability: Double) {
    #expect(throws: InvalidModel.self) { try WideResNetConfiguration(architecture: .wrn, dropout: probability) }
  }

  @Test func traxHasItsOwnBlocksOnly() {
    #expect(throws: InvalidModel.self) { try WideResNetConfiguration(architecture: .trax, block: [3, 1]) }
  }

  @Test func dropoutIsBeforeTheLastConvolutionOfEachBlock() throws {
    for (block, expected) in [([3, 3], "conv2"), ([3, 1, 1], "conv3"), ([3], "conv1")] {
      let graph = try WideResNetConfiguration(
        architecture: .wrn, depth: 16, widenFactor: 2, block: block, dropout: 0.3
      ).graph()
      let dropped = graph.operations.compactMap { operation -> String? in
        guard case .convolution(let convolution) = operation, operation.input.dropout != nil else { return nil }
        return convolution.layer.name
      }
      #expect(dropped == (0..<6).map { "groups.\($0 / 2).blocks.\($0 % 2).\(expected)" })
    }
  }
}
