import Collectives
import Tensors
import Tracing

/// Runs forward and backward passes of a ``ModelGraph`` over this rank's microbatches.
///
/// It owns all memory of the passes, allocated once. One or several microbatches at a time are a worker's item; between
/// layers the partial sums of a batch normalization are reduced over all microbatches, of all ranks. Parameters are read,
/// gradients written; nothing else outlives a batch. It walks ``ForwardSchedule`` and ``BackwardSchedule`` and knows no
/// family of models. Graphs of several image sizes may share its memory; ``select(imageSize:)`` changes between them.
public final class ModelExecutor {
  /// The purpose of the passes, which decides what memory is kept.
  public enum Purpose: Sendable {
    /// Activations are saved for the backward pass.
    case training
    /// Forward only: a few activations share memory.
    case inference
  }

  private let passes: [PassPlan]
  /// The passes at the selected image size.
  private(set) var pass: PassPlan
  let engine: any ConvolutionEngine
  let pool: WorkerPool
  let parameters: ParameterStore
  let runningStatistics: ParameterStore
  let norms: [BatchNormalization]
  let dropouts: [DropoutMasks]
  let head: ClassifierHead
  let gradients: GradientBuffers?
  let labels: ExecutorTraceLabels
  private let activationSlots: [AlignedBuffer<Float>]
  private let gradientSlots: [AlignedBuffer<Float>]
  // One layer's packed weight: it is packed when the layer is reached, and read while still in a cache.
  private let packedWeight: AlignedBuffer<Float>
  private let scratch: [AlignedBuffer<Float>]
  private let scope: BatchNormalizationScope
  // In scope `microbatch`, every local microbatch's statistics of all layers; their sum then takes the first row.
  private let microbatchStatistics: AlignedBuffer<Double>
  // How many leading elements of the parameters have arrived in this batch.
  private var arrivedElementCount = 0

  /// Allocates an executor.
  ///
  /// - Parameters:
  ///   - graph: The model at the image size that is selected first.
  ///   - otherSizes: The same model at other image sizes.
  ///   - engine: Computes convolutions.
  ///   - pool: The threads of this rank.
  ///   - parameters: A store of the model's parameters, read by every pass.
  ///   - runningStatistics: A store of the model's running statistics.
  ///   - imagesPerMicrobatch: The images of a microbatch.
  ///   - microbatches: This rank's microbatches of a full batch.
  ///   - tree: The tree over all microbatches of a full batch.
  ///   - scope: How batch statistics are formed.
  ///   - purpose: Whether activations are saved for the backward pass.
  ///   - roundingLevel: The level of the tree whose gradient sums are rounded to bfloat16. If `nil`, none are.
  ///   - labelSmoothing: The part of the loss's target that all classes share, in [0, 1].
  ///   - seed: The seed of dropout masks.
  ///   - tracer: Records what takes how long. If `nil`, nothing is recorded.
  public init(
    _ graph: ModelGraph, otherSizes: [ModelGraph] = [], engine: any ConvolutionEngine, pool: WorkerPool,
    parameters: ParameterStore, runningStatistics: ParameterStore, imagesPerMicrobatch: Int, microbatches: Range<Int>,
    tree: ReductionTree, scope: BatchNormalizationScope, purpose: Purpose, roundingLevel: Int? = nil,
    labelSmoothing: Double = 0, seed: UInt64 = 0, tracer: Tracer? = nil
  ) {
    precondition(
      otherSizes.allSatisfy { $0.parameterLayout == graph.parameterLayout }, "other sizes are of another model")
    let plan = ExecutorPlan(
      [graph] + otherSizes, engine: engine, workerCount: pool.workerCount, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatches: microbatches, tree: tree, scope: scope, purpose: purpose)
    func buffers(_ sizes: [Int]) -> [AlignedBuffer<Float>] {
      sizes.map { AlignedBuffer(count: plan.imageCount * $0) }
    }
    passes = plan.passes
    pass = plan.passes[0]
    self.engine = engine
    self.pool = pool
    self.parameters = parameters
    self.runningStatistics = runningStatistics
    self.scope = scope
    activationSlots = buffers(plan.activationSizes)
    gradientSlots = buffers(plan.gradientSizes)
    dropouts = plan.dropouts.map { DropoutMasks($0, imageCount: plan.imageCount, seed: seed) }
    norms = graph.normalizationLayers.map {
      BatchNormalization($0, microbatchCount: plan.microbatchCount, scope: scope)
    }
    head = ClassifierHead(
      graph.classifier.layer, imageCount: plan.imageCount, microbatchCount: plan.microbatchCount,
      labelSmoothing: labelSmoothing)
    gradients =
      purpose == .inference
      ? nil : GradientBuffers(graph, microbatches: microbatches, tree: tree, roundingLevel: roundingLevel)
    labels = ExecutorTraceLabels(graph, tracer)
    packedWeight = AlignedBuffer(count: plan.packedWeightCount)
    scratch = (0..<pool.workerCount).map { _ in AlignedBuffer(count: plan.scratchCount) }
    microbatchStatistics = AlignedBuffer(count: plan.microbatchStatisticsCount)
  }

  /// The model at the selected image size.
  var graph: ModelGraph { pass.graph }

  /// Selects the size of the images of the next batches; allocates nothing.
  ///
  /// - Precondition: The executor has a graph of that size.
  public func select(imageSize: Int) {
    guard imageSize != pass.graph.imageSize else { return }
    guard let selected = passes.first(where: { $0.graph.imageSize == imageSize }) else {
      preconditionFailure("the executor has no graph for images of \(imageSize) pixels")
    }
    pass = selected
  }

  /// The logits of this rank's images of the last batch, `[images, classes]`.
  public var logits: UnsafePointer<Float> { head.logits }

  /// The bytes of all buffers.
  public var byteCount: Int {
    let floats = activationSlots + gradientSlots + [packedWeight] + scratch
    return floats.reduce(0) { $0 + $1.byteCount } + norms.reduce(0) { $0 + $1.byteCount }
      + dropouts.reduce(0) { $0 + $1.byteCount } + microbatchStatistics.byteCount + head.byteCount
      + (gradients?.byteCount ?? 0)
  }

  /// Marks all parameters as in flight, at the start of a batch.
  func resetArrivedParameters() { arrivedElementCount = 0 }

  /// Waits until the first `count` elements of the parameters have arrived.
  ///
  /// - Parameters:
  ///   - count: The elements that the next operation reads.
  ///   - wait: Waits for that many elements and returns how many have arrived.
  /// - Throws: ``CommunicationError`` if they cannot arrive.
  func awaitParameters(upTo count: Int, _ wait: (Int) throws -> Int) throws {
    guard arrivedElementCount < count else { return }
    arrivedElementCount = try wait(count)
  }

  /// Packs the weight of the layer that is computed next.
  func packWeight(_ layer: ConvolutionLayer, for direction: ConvolutionDirection) {
    let taskCount = engine.packingTaskCount(layer.geometry)
    let context = (engine: engine, geometry: layer.geometry, direction, weight: weight(layer), packedWeight.pointer)
    pool.parallelFor(taskCount, with: context) { context, task, _ in
      let (engine, geometry, direction, weight, packed) = context.pointee
      engine.packWeight(geometry, for: direction, task: task, weight, into: packed)
    }
  }

  /// Starts to reduce the microbatches' statistics where each has its own, for ``finishRunningStatistics(_:)``.
  ///
  /// Collective, after a forward pass with batch statistics.
  ///
  /// - Throws: ``CommunicationError`` if a message fails.
  public func startRunningStatistics(_ batch: LocalBatch) throws {
    guard scope == .microbatch else { return }
    let count = graph.statisticsLayout.elementCount
    for norm in norms { norm.copyStatistics(to: microbatchStatistics.pointer, stride: count) }
    try batch.statisticsReduction.start(microbatchStatistics.pointer, count: count)
  }

  /// Moves the running statistics towards those of the batch.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - batch: The microbatches of the batch.
  ///   - momentum: The weight of the old running statistics. If `nil`, 0.9 as in Trax and by default in PyTorch.
  /// - Throws: ``CommunicationError`` if a message fails.
  public func finishRunningStatistics(_ batch: LocalBatch, momentum: Float? = nil) throws {
    if scope == .microbatch { try batch.statisticsReduction.finish(into: microbatchStatistics.pointer) }
    for norm in norms {
      norm.updateRunningStatistics(
        runningStatistics, momentum: momentum ?? BatchNormalization.momentum, sums: microbatchStatistics.pointer,
        count: batch.globalCount)
    }
  }

  /// Ends what ``startRunningStatistics(_:)`` has started, for a batch that does not count.
  ///
  /// Collective.
  ///
  /// - Throws: ``CommunicationError`` if a message fails.
  public func discardRunningStatistics(_ batch: LocalBatch) throws {
    if scope == .microbatch { try batch.statisticsReduction.finish(into: microbatchStatistics.pointer) }
  }

  /// Divides a layer's pass into work items of microbatches.
  func workItems(_ layer: ConvolutionLayer, _ batch: LocalBatch) -> LayerWorkItems {
    LayerWorkItems(
      batch: batch,
      microbatchesPerItem: engine.microbatchesPerWorkItem(
        layer.geometry, imagesPerMicrobatch: batch.imagesPerMicrobatch,
        microbatchCount: batch.localCount, workerCount: pool.workerCount))
  }

  /// The memory of a tensor of this rank's images.
  ///
  /// - Precondition: It is not the graph's image, which the caller of a pass holds.
  func activation(_ tensor: GraphTensor) -> UnsafeMutablePointer<Float> {
    guard let slot = pass.memory.activations.slotOfValue[tensor.index] else {
      preconditionFailure("\(tensor.name) has no memory")
    }
    return activationSlots[slot].pointer
  }

  /// The memory of a tensor that an operation reads; that of the graph's image is the caller's.
  func input(_ tensor: GraphTensor, _ images: UnsafePointer<Float>) -> UnsafePointer<Float> {
    tensor == graph.image ? images : UnsafePointer(activation(tensor))
  }

  /// The memory of a gradient of this rank's images.
  func gradient(_ value: GradientValue) -> UnsafeMutablePointer<Float> {
    guard let slot = pass.memory.gradients.slotOfValue[value.index] else {
      preconditionFailure("gradient \(value.index) has no memory")
    }
    return gradientSlots[slot].pointer
  }

  /// The state of a batch normalization.
  func norm(_ layer: NormalizationLayer) -> BatchNormalization { norms[layer.index] }

  /// A convolution's weight, `RSCK`.
  func weight(_ layer: ConvolutionLayer) -> UnsafePointer<Float> {
    UnsafePointer(parameters.pointer + layer.weight.range.lowerBound)
  }

  /// A convolution's bias, if it has one.
  func bias(_ layer: ConvolutionLayer) -> UnsafePointer<Float>? {
    layer.bias.map { UnsafePointer(parameters.pointer + $0.range.lowerBound) }
  }

  /// The weight that was packed last.
  var packed: UnsafePointer<Float> { UnsafePointer(packedWeight.pointer) }

  /// A worker's scratch memory.
  func scratch(_ worker: Int) -> UnsafeMutablePointer<Float> { scratch[worker].pointer }
}
