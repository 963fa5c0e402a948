import Collectives
import Tensors

/// A network at work: all memory that forward and backward passes need, allocated once, and the passes themselves.
///
/// A pass over a layer hands one microbatch to one worker; between layers the partial sums of a batch normalisation are
/// joined over all microbatches, of all ranks. Parameters are read, gradients written; nothing else outlives a batch.
public final class NetworkPass {
  /// What a pass is for, which decides what memory it keeps.
  public enum Purpose: Sendable {
    /// Activations are kept for the way back.
    case training
    /// Forward only: a few activations are used over and over.
    case inference
  }

  let network: WideResNet
  let engine: any ConvolutionEngine
  let pool: WorkerPool
  let parameters: ParameterStore
  let runningStatistics: ParameterStore
  let stemOutput: Tensor
  let groupActivations: [GroupActivations]
  let norms: [BatchNormalization]
  let head: ClassifierHead
  let gradients: GradientMemory?
  private let layers: [ConvolutionLayer]
  private let preparedWeights: [AlignedBuffer<Float>]
  private let scratch: [AlignedBuffer<Float>]
  private let scope: BatchNormalizationScope

  /// Allocates a pass.
  ///
  /// - Parameters:
  ///   - network: The layers.
  ///   - engine: Computes convolutions.
  ///   - pool: The threads of this rank.
  ///   - parameters: A store of the network's parameters, read by every pass.
  ///   - runningStatistics: A store of the network's running statistics.
  ///   - imagesPerMicrobatch: The images of a microbatch.
  ///   - microbatches: This rank's microbatches of a full batch.
  ///   - tree: The tree over all microbatches of a full batch.
  ///   - scope: How batch statistics are formed.
  ///   - purpose: Whether activations are kept for the way back.
  public init(
    _ network: WideResNet, engine: any ConvolutionEngine, pool: WorkerPool,
    parameters: ParameterStore, runningStatistics: ParameterStore, imagesPerMicrobatch: Int,
    microbatches: Range<Int>, tree: ReductionTree, scope: BatchNormalizationScope, purpose: Purpose
  ) {
    self.network = network
    self.engine = engine
    self.pool = pool
    self.parameters = parameters
    self.runningStatistics = runningStatistics
    self.scope = scope
    let images = imagesPerMicrobatch * microbatches.count
    let activations = ActivationPlan(network, imageCount: images, purpose: purpose)
    stemOutput = activations.stemOutput
    groupActivations = activations.groups
    norms = network.normalizationsInOrder.map { norm, pixels in
      BatchNormalization(
        norm, pixels: pixels, microbatchCount: microbatches.count, scope: scope)
    }
    layers = network.layersInOrder
    let lastImage = layers.last?.geometry
    head = ClassifierHead(
      network.head, pixels: (lastImage?.outputHeight ?? 0) * (lastImage?.outputWidth ?? 0),
      imageCount: images, microbatchCount: microbatches.count)
    gradients =
      purpose == .training
      ? GradientMemory(network, imageCount: images, microbatches: microbatches, tree: tree) : nil
    preparedWeights = layers.sorted { $0.index < $1.index }.map {
      AlignedBuffer(count: engine.preparedWeightCount($0.geometry))
    }
    let scratchCount = network.convolutions.map {
      engine.scratchCount($0, imageCount: imagesPerMicrobatch)
    }
    scratch = (0..<pool.workerCount).map { _ in AlignedBuffer(count: scratchCount.max() ?? 0) }
  }

  /// The logits of this rank's images of the last batch, `[images, classes]`.
  public var logits: UnsafePointer<Float> { head.logits }

  /// The bytes of all memory that the pass planned.
  public var byteCount: Int {
    var total = 0
    var counted = Set<ObjectIdentifier>()
    for tensor in [stemOutput] + groupActivations.flatMap(\.all)
    where counted.insert(ObjectIdentifier(tensor)).inserted {
      total += tensor.byteCount
    }
    for buffer in preparedWeights + scratch { total += buffer.byteCount }
    for norm in norms { total += norm.byteCount }
    return total + head.byteCount + (gradients?.byteCount ?? 0)
  }

  /// Brings all kernels into the engine's own form.
  func prepareWeights() {
    pool.run(layers.count, with: self) { pass, i, _ in
      let layer = pass.layers[i]
      pass.engine.prepareWeight(
        layer.geometry, pass.parameters.pointer + layer.weight.range.lowerBound,
        into: pass.preparedWeights[layer.index].pointer)
    }
  }

  /// The batch normalisation of a layer.
  func norm(_ layer: NormalizationLayer) -> BatchNormalization { norms[layer.index] }

  /// A convolution's kernel, `RSCK`.
  func weight(_ layer: ConvolutionLayer) -> UnsafePointer<Float> {
    UnsafePointer(parameters.pointer + layer.weight.range.lowerBound)
  }

  /// A convolution's bias, if it has one.
  func bias(_ layer: ConvolutionLayer) -> UnsafePointer<Float>? {
    layer.bias.map { UnsafePointer(parameters.pointer + $0.range.lowerBound) }
  }

  /// A convolution's kernel in the engine's own form.
  func prepared(_ layer: ConvolutionLayer) -> UnsafePointer<Float> {
    UnsafePointer(preparedWeights[layer.index].pointer)
  }

  /// A worker's scratch memory.
  func scratch(_ worker: Int) -> UnsafeMutablePointer<Float> { scratch[worker].pointer }
}
