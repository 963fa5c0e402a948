import Models
import Tensors
import Testing

/// What is derived from a graph: schedules, memory, and the refusal of graphs that cannot be computed.
@Suite struct GraphTests {
  private func trax(_ depth: Int, _ k: Int = 1) throws -> ModelGraph {
    TraxWideResNet.graph(try WideResNetConfiguration(depth: depth, widenFactor: k))
  }

  /// The stem and two tensors per block are saved for the backward pass; shortcuts and doubled sums are overwritten.
  @Test(arguments: [(10, 1), (22, 1), (22, 4), (28, 3)])
  func savedActivations(depth: Int, k: Int) throws {
    let n = (depth - 4) / 6
    var expected = 32 * 32 * 16
    for (size, channels) in [(32, 16 * k), (16, 32 * k), (8, 64 * k)] { expected += n * 2 * size * size * channels }
    #expect(try trax(depth, k).savedActivationByteCount(imageCount: 3) == 3 * 4 * expected)
  }

  /// Besides the saved activations, training holds three gradients at most.
  @Test(arguments: [(10, 1), (22, 1), (22, 4)])
  func gradientBuffers(depth: Int, k: Int) throws {
    let graph = try trax(depth, k)
    let largest = graph.convolutions.map(\.outputCount).max() ?? 0
    let saved = graph.savedActivationByteCount(imageCount: 1)
    #expect(graph.trainingByteCountPerImage <= saved + 3 * 4 * largest)
  }

  @Test func theShortcutHidesTheExchangeOfStatistics() throws {
    let steps = ForwardSchedule(try trax(22)).steps.map(Self.describe)
    #expect(
      steps.prefix(9) == [
        "compute stem", "start norm 0", "finish norm 0", "compute groups.0.blocks.0.conv1", "start norm 1",
        "compute groups.0.shortcut", "finish norm 1", "compute groups.0.blocks.0.conv2", "start norm 2",
      ])
    #expect(steps.suffix(3) == ["start norm 18", "finish norm 18", "compute head"])
  }

  @Test func theBackwardPassHidesTheExchangeBehindSumsAndTheShortcut() throws {
    let steps = BackwardSchedule(try trax(22)).steps.map(Self.describe)
    #expect(steps.prefix(4) == ["backward head", "start norm 18", "reduce", "finish norm 18"])
    let start = try #require(steps.firstIndex(of: "backward groups.0.blocks.0.conv2, saved"))
    #expect(
      steps[start...] == [
        "backward groups.0.blocks.0.conv2, saved", "start norm 1", "reduce", "backward groups.0.shortcut", "reduce",
        "finish norm 1", "backward groups.0.blocks.0.conv1", "start norm 0", "reduce", "finish norm 0", "backward stem",
        "reduce",
      ])
  }

  /// Both convolutions read one normalization: the first in backward order leaves dZ, the other adds, masks and sums.
  @Test func aSharedNormalizationIsMaskedOnce() throws {
    let graph = try WideResNetConfiguration(architecture: .wrn, depth: 10, widenFactor: 2).graph()
    let forward = ForwardSchedule(graph).steps.map(Self.describe)
    #expect(
      forward.prefix(9) == [
        "compute stem", "start norm 0", "finish norm 0", "compute groups.0.blocks.0.conv1", "start norm 1",
        "compute groups.0.blocks.0.shortcut", "finish norm 1", "compute groups.0.blocks.0.conv2", "start norm 2",
      ])
    let gradients = BackwardSchedule(graph).steps.compactMap { step -> String? in
      guard case .convolution(let operation, _, let gradient?) = step else { return nil }
      return
        "\(operation.layer.name) \(gradient.accumulates ? "adds" : "writes") \(gradient.isMasked ? "masked" : "plain")"
    }
    #expect(
      gradients.suffix(3) == [
        "groups.0.blocks.0.conv2 writes masked", "groups.0.blocks.0.shortcut writes plain",
        "groups.0.blocks.0.conv1 adds masked",
      ])
  }

  @Test func dropoutOfARawTensorIsRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 16)
      _ = builder.dropped(builder.raw(x), "dropout", probability: 0.5)
    }
  }

  @Test func dropoutWithProbabilityOneIsRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 16)
      _ = builder.dropped(builder.normalized("norm", x), "dropout", probability: 1)
    }
  }

  private static func describe(_ step: ForwardSchedule.Step) -> String {
    switch step {
    case .compute(.convolution(let operation), _): "compute \(operation.layer.name)"
    case .compute(.scaling, _): "compute scaling"
    case .compute(.classifier(let operation), _): "compute \(operation.layer.name)"
    case .startStatistics(let norm): "start norm \(norm.index)"
    case .finishStatistics(let norm): "finish norm \(norm.index)"
    }
  }

  private static func describe(_ step: BackwardSchedule.Step) -> String {
    switch step {
    case .classifier(let operation, _): "backward \(operation.layer.name)"
    case .convolution(let operation, let gradient, _):
      "backward \(operation.layer.name)" + (gradient.saved == nil ? "" : ", saved")
    case .scaling: "backward scaling"
    case .startNormalization(let norm): "start norm \(norm.index)"
    case .finishNormalization(let norm): "finish norm \(norm.index)"
    case .reduceParameterGradients: "reduce"
    }
  }

  // MARK: Graphs that cannot be computed

  @Test func aTensorThatNothingReadsIsRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 8)
      _ = builder.convolution("unused", builder.raw(x), channels: 8)
      _ = builder.classifier("head", builder.normalized("norm", x), classes: 10, model: "unused")
    }
  }

  @Test func twoNormalizationsOfOneTensorAreRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 8)
      let y = builder.convolution("a", builder.normalized("norm1", x), channels: 8)
      let z = builder.convolution("b", builder.normalized("norm2", x), channels: 8, adding: y)
      _ = builder.classifier("head", builder.normalized("norm", z), classes: 10, model: "two norms")
    }
  }

  @Test func aGradientOfThreeTermsIsRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 8)
      let a = builder.convolution("a", builder.raw(x), channels: 8)
      let b = builder.convolution("b", builder.raw(x), channels: 8, adding: a)
      let c = builder.convolution("c", builder.raw(x), channels: 8, adding: b)
      _ = builder.classifier("head", builder.normalized("norm", c), classes: 10, model: "three terms")
    }
  }

  @Test func aScalingThatIsNotExactIsRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 8)
      _ = builder.scaled(x, by: 3)
    }
  }

  /// The sums of the scaled tensor would go to the wrong normalization.
  @Test func aScaledTensorWithAnotherReaderIsRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 8)
      let y = builder.scaled(x, by: 2)
      let z = builder.convolution("a", builder.normalized("norm1", x), channels: 8, adding: y)
      _ = builder.classifier("head", builder.normalized("norm", z), classes: 10, model: "scaled and read")
    }
  }

  /// Their statistics would never be exchanged.
  @Test func normalizedImagesAreRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 3)
      let x = builder.convolution("stem", builder.normalized("norm0", builder.image), channels: 8)
      _ = builder.classifier("head", builder.normalized("norm", x), classes: 10, model: "normalized images")
    }
  }

  @Test func addedImagesAreRefused() async {
    await #expect(processExitsWith: .failure) {
      var builder = GraphBuilder(imageSize: 8, imageChannels: 8)
      let x = builder.convolution("stem", builder.raw(builder.image), channels: 8, adding: builder.image)
      _ = builder.classifier("head", builder.normalized("norm", x), classes: 10, model: "added images")
    }
  }
}
