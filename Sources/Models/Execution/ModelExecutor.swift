import Collectives
import Tensors
import Tracing

/// A network at work: all memory that forward and backward passes need, allocated once, and the passes themselves.
///
/// A pass over a layer hands one or several microbatches at a time to a worker; between layers the partial sums of a batch
/// normalisation are joined over all microbatches, of all ranks. Parameters are read, gradients written; nothing else
/// outlives a batch.
public final class ModelExecutor {
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
  let gradients: GradientBuffers?
  let spans: ExecutorTraceLabels
  private let layers: [ConvolutionLayer]
  // One layer's kernel in the engine's own form: it is made when the layer is reached, and read while still in a cache.
  private let packedWeight: AlignedBuffer<Float>
  private let scratch: [AlignedBuffer<Float>]
  private let scope: BatchNormalizationScope
  // In scope `microbatch`, every local microbatch's statistics of all layers; their sum then stands in the first row.
  private let microbatchStatistics: AlignedBuffer<Double>
  // How far parameters have arrived in this batch.
  private var arrivedElementCount = 0

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
  ///   - roundingLevel: The level of the tree whose gradients are rounded to bfloat16; nil: none.
  ///   - tracer: Records what takes how long.
  public init(
    _ network: WideResNet, engine: any ConvolutionEngine, pool: WorkerPool,
    parameters: ParameterStore, runningStatistics: ParameterStore, imagesPerMicrobatch: Int,
    microbatches: Range<Int>, tree: ReductionTree, scope: BatchNormalizationScope, purpose: Purpose,
    roundingLevel: Int? = nil, tracer: Tracer? = nil
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
    norms = network.normalizationLayers.map { norm, pixels in
      BatchNormalization(
        norm, pixels: pixels, microbatchCount: microbatches.count, scope: scope)
    }
    layers = network.convolutionLayers
    spans = ExecutorTraceLabels(network, tracer)
    let lastImage = layers.last?.geometry
    head = ClassifierHead(
      network.head, pixels: (lastImage?.outputHeight ?? 0) * (lastImage?.outputWidth ?? 0),
      imageCount: images, microbatchCount: microbatches.count)
    gradients =
      purpose == .training
      ? GradientBuffers(
        network, imageCount: images, microbatches: microbatches, tree: tree, roundingLevel: roundingLevel) : nil
    packedWeight = AlignedBuffer(
      count: network.convolutions.map(engine.packedWeightCount).max() ?? 0)
    microbatchStatistics = AlignedBuffer(
      count: scope == .microbatch && purpose == .training
        ? microbatches.count * network.statisticsLayout.elementCount : 0)
    let scratchCount = engine.scratchCount(
      network.convolutions, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatchCount: microbatches.count, workerCount: pool.workerCount)
    scratch = (0..<pool.workerCount).map { _ in AlignedBuffer(count: scratchCount) }
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
    for buffer in [packedWeight] + scratch { total += buffer.byteCount }
    for norm in norms { total += norm.byteCount }
    total += microbatchStatistics.byteCount
    return total + head.byteCount + (gradients?.byteCount ?? 0)
  }

  /// Begins a batch: its parameters may still be on their way.
  func resetArrivedParameters() { arrivedElementCount = 0 }

  /// Makes sure that the first `count` elements of the parameters are there.
  ///
  /// - Parameters:
  ///   - count: The elements that the next layer reads.
  ///   - arrival: Waits for so many elements and tells how many are there.
  /// - Throws: ``CommunicationError`` if they cannot arrive.
  func require(_ count: Int, _ arrival: (Int) throws -> Int) throws {
    guard arrivedElementCount < count else { return }
    arrivedElementCount = try arrival(count)
  }

  /// Brings the kernel of the layer that is computed next into the engine's own form.
  func packWeight(_ layer: ConvolutionLayer, for direction: ConvolutionDirection) {
    let parts = engine.packingTaskCount(layer.geometry)
    pool.run(parts, with: (self, layer, direction)) { context, part, _ in
      let (pass, layer, direction) = context
      pass.engine.packWeight(
        layer.geometry, for: direction, part: part, pass.weight(layer),
        into: pass.packedWeight.pointer)
    }
  }

  /// Starts to join the microbatches' statistics where each has its own, for ``finishRunningStatistics(_:)``.
  ///
  /// Every rank calls it, after a forward pass with batch statistics.
  ///
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func startRunningStatistics(_ run: LocalBatch) throws {
    guard scope == .microbatch else { return }
    let count = network.statisticsLayout.elementCount
    for norm in norms { norm.copyStatistics(to: microbatchStatistics.pointer, stride: count) }
    try run.statisticsReduction.start(microbatchStatistics.pointer, count: count)
  }

  /// Moves the running statistics towards those of the batch.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func finishRunningStatistics(_ run: LocalBatch) throws {
    if scope == .microbatch { try run.statisticsReduction.finish(into: microbatchStatistics.pointer) }
    for norm in norms {
      norm.updateRunningStatistics(
        runningStatistics, sums: microbatchStatistics.pointer, count: run.globalCount)
    }
  }

  /// Cuts a pass over a layer into spans of microbatches for the workers.
  func workItems(_ layer: ConvolutionLayer, _ run: LocalBatch) -> LayerWorkItems {
    LayerWorkItems(
      batch: run,
      microbatchesPerItem: engine.microbatchesPerWorkItem(
        layer.geometry, imagesPerMicrobatch: run.imagesPerMicrobatch,
        microbatchCount: run.localCount, workerCount: pool.workerCount))
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

  /// The kernel that was prepared last.
  var packed: UnsafePointer<Float> { UnsafePointer(packedWeight.pointer) }

  /// A worker's scratch memory.
  func scratch(_ worker: Int) -> UnsafeMutablePointer<Float> { scratch[worker].pointer }
}

/// What passes through a network are made of, in a trace: a span for every layer and direction, and the waits between them.
///
/// Without a tracer it reads no clock and records nothing.
struct ExecutorTraceLabels {
  private let tracer: Tracer?
  private let forward: [TraceLabel]
  private let backward: [TraceLabel]
  /// The classifier on the way there.
  let headForward: TraceLabel
  /// The classifier on the way back.
  let headBackward: TraceLabel
  /// The addition of microbatches' gradients.
  let addition: TraceLabel
  private let statisticsWait: TraceLabel

  /// Makes the labels.
  init(_ network: WideResNet, _ tracer: Tracer?) {
    func name(_ parameter: String) -> Substring { parameter.dropLast(".weight".count) }
    self.tracer = tracer
    let layers = network.convolutionLayers.sorted { $0.index < $1.index }.map { name($0.weight.name) }
    let head = name(network.head.weight.name)
    forward = layers.map { tracer.label("forward \($0)", "forward") }
    backward = layers.map { tracer.label("backward \($0)", "backward") }
    headForward = tracer.label("forward \(head)", "forward")
    headBackward = tracer.label("backward \(head)", "backward")
    addition = tracer.label("add microbatches", "backward")
    statisticsWait = tracer.label("batch-norm wait", "wait")
  }

  /// The label of a convolution on the way there.
  func forward(_ layer: ConvolutionLayer) -> TraceLabel { forward[layer.index] }

  /// The label of a convolution on the way back.
  func backward(_ layer: ConvolutionLayer) -> TraceLabel { backward[layer.index] }

  /// Reads the clock if something is traced.
  func now() -> UInt64 { tracer.now() }

  /// Records a span of the thread that trains, which ends now.
  func record(_ label: TraceLabel, since start: UInt64) { tracer.record(label, since: start) }

  /// Records a wait for batch statistics, if there are other ranks to wait for.
  func recordStatisticsWait(_ run: LocalBatch, since start: UInt64) {
    if run.localCount < run.globalCount { tracer.record(statisticsWait, since: start) }
  }
}
