import Collectives
import Models
import Tensors
import Testing

/// Networks that no paper has: what is derived from any graph agrees with the unfused reference.
@Suite struct RandomGraphTests {
  private static let imageCount = 6

  private static var engines: [any ConvolutionEngine] {
    [BLASConvolutionEngine()] + InstructionSet.allCases.filter(\.isSupported).map { NativeConvolutionEngine($0) }
  }

  @Test(arguments: 0..<36)
  func forwardAndBackwardAgreeWithTheReference(seed: Int) throws {
    let graph = RandomGraph(seed: seed).graph
    let parameters = ParameterStore(graph.parameterLayout)
    let statistics = ParameterStore(graph.statisticsLayout)
    graph.initialize(parameters, statistics, seed: UInt64(seed))
    let images = Tensor(Shape(Self.imageCount, graph.imageSize, graph.imageSize, graph.imageChannels))
    RandomStream(seed: UInt64(seed), purpose: "random graph images").fillNormal(images.elements, standardDeviation: 1)
    let labels = AlignedBuffer<UInt8>(count: Self.imageCount)
    for n in 0..<Self.imageCount { labels.pointer[n] = UInt8((3 * n + seed) % graph.classCount) }
    let expected = GraphInterpreter(
      graph, images.elements.map(Double.init), labels: labels.elements.map(Int.init), parameters: parameters,
      dropout: (seed: 7, step: 3))

    // Dropout multiplies what it keeps, and with it the rounding errors of gradients that are exactly 0.
    let amplification = graph.dropoutLayers.map { 1 / (1 - $0.probability) }.max() ?? 1
    for engine in Self.engines {
      let imagesPerMicrobatch = [1, 2, 6][seed % 3]
      let count = Self.imageCount / imagesPerMicrobatch
      let tree = ReductionTree(leafCount: count)
      let pool = try WorkerPool(workerCount: 1 + seed % 2)
      func executor(_ purpose: ModelExecutor.Purpose) -> ModelExecutor {
        ModelExecutor(
          graph, engine: engine, pool: pool, parameters: parameters, runningStatistics: statistics,
          imagesPerMicrobatch: imagesPerMicrobatch, microbatches: 0..<count, tree: tree, scope: .global,
          purpose: purpose, seed: 7)
      }
      let batch = LocalBatch(
        graph, globalImageCount: Self.imageCount, imagesPerMicrobatch: imagesPerMicrobatch, localRange: 0..<count,
        tree: tree, communicator: SingleProcessCommunicator())
      let training = executor(.training)
      try training.forward(images.pointer, labels: labels.pointer, batch: batch, statistics: .batch, step: 3)
      #expect(abs(try training.finishLoss(batch) - expected.loss) < 1e-5, "\(graph.name), \(engine.name)")
      for (i, logit) in expected.logits.enumerated() {
        #expect(abs(Double(training.logits[i]) - logit) < 5e-5, "logit \(i) of \(graph.name), \(engine.name)")
      }

      // Inference shares memory between activations; what it computes is the same.
      let inference = executor(.inference)
      try inference.forward(images.pointer, labels: labels.pointer, batch: batch, statistics: .batch)
      _ = try inference.finishLoss(batch)
      if graph.dropoutLayers.isEmpty {
        for i in expected.logits.indices { #expect(inference.logits[i] == training.logits[i]) }
      }
      #expect(inference.byteCount < training.byteCount)

      var readyCounts = [Int](repeating: 0, count: graph.parameterCount)
      try training.backward(images.pointer, batch: batch, isDropping: true) { range in
        for i in range { readyCounts[i] += 1 }
      }
      #expect(readyCounts.allSatisfy { $0 == 1 }, "every gradient is ready once: \(graph.name)")
      #expect(training.subtreeGradients.count == 1)
      for parameter in graph.parameterLayout.parameters {
        let exact = try #require(expected.gradients[parameter.name])
        let found = training.subtreeGradients[0][parameter]
        let limit = GradientLimit.relative * (exact.map(abs).max() ?? 0) + GradientLimit.absolute * amplification
        for (i, value) in exact.enumerated() {
          let error = abs(Double(found[i]) - value)
          #expect(
            error <= limit, "\(parameter.name)[\(i)] of \(graph.name), \(engine.name) \(engine.instructions): \(error)")
        }
      }
    }
  }
}

/// A graph of random depth, widths, kernel sizes, strides and residual connections.
struct RandomGraph {
  private(set) var graph: ModelGraph

  init(seed: Int) {
    let stream = RandomStream(seed: UInt64(seed), purpose: "random graph")
    var index: UInt64 = 0
    func pick<Element>(_ elements: [Element]) -> Element {
      index += 1
      return elements[stream.integer(index, below: elements.count)]
    }
    var builder = GraphBuilder(imageSize: pick([8, 12, 16]), imageChannels: pick([1, 3]))
    var x = builder.convolution(
      "stem", builder.raw(builder.image), channels: pick([8, 16]), kernelSize: pick([1, 3]),
      hasBias: pick([true, false]))
    var name = "random"
    for g in 0..<pick([1, 2, 3]) {
      // In a "shared" block the shortcut reads what the first convolution reads, as in the paper's networks.
      let kind = pick(["chain", "identity", "trax", "shared", "shared"])
      let (channels, stride, blocks) = (pick([8, 16, 24, 32]), pick([1, 1, 2]), pick([1, 2, 3]))
      let (first, second) = (pick([1, 3]), pick([1, 3]))
      name += " \(kind)\(blocks)·\(channels)/\(stride)"
      // Read by the first block's second convolution, or by the last one's.
      var skip: GraphTensor?
      for b in 0..<blocks {
        let block = "groups.\(g).blocks.\(b)"
        let blockStride = b == 0 ? stride : 1
        let changesShape = blockStride > 1 || x.channels != channels
        let input = builder.normalized("\(block).norm1", x)
        let shortcut =
          kind == "trax" && b == 0 || ["identity", "shared"].contains(kind) && changesShape
          ? builder.convolutionLayer(
            "\(block).shortcut", reading: x, channels: channels, kernelSize: pick([1, 3]), stride: blockStride,
            hasBias: pick([true, false])) : nil
        let inner = builder.convolution(
          "\(block).conv1", input, channels: channels, kernelSize: first,
          stride: blockStride, hasBias: pick([true, false]))
        var branch = builder.normalized("\(block).norm2", inner)
        if inner.elementCount.isMultiple(of: 16) {
          branch = builder.dropped(branch, "\(block).dropout", probability: pick([0, 0, 0.3, 0.5]))
        }
        var addend: GraphTensor?
        if let shortcut {
          addend = builder.convolution(shortcut, kind == "shared" ? input : builder.raw(x))
        } else if kind == "identity" || kind == "shared" {
          addend = x
        } else if kind == "trax" && b == blocks - 1 {
          addend = skip
        }
        x = builder.convolution(
          "\(block).conv2", branch, channels: channels, kernelSize: second, hasBias: pick([true, false]), adding: addend
        )
        if kind == "trax" && b == 0 {
          skip = x
          if blocks == 1 { x = builder.scaled(x, by: 2) }
        }
      }
    }
    graph = builder.classifier("head", builder.normalized("norm", x), classes: pick([2, 10]), model: name)
  }
}
