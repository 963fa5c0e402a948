import Collectives
import Tensors

/// The sizes of all memory of a ``ModelExecutor``, derived before anything is allocated.
struct ExecutorPlan {
  let graph: ModelGraph
  let forward: ForwardSchedule
  /// `nil` for inference.
  let backward: BackwardSchedule?
  let memory: MemoryPlan
  /// Images of this rank's microbatches of a full batch.
  let imageCount: Int
  let microbatchCount: Int
  /// How batch statistics are formed.
  let scope: BatchNormalizationScope
  /// Floats of one layer's packed weight.
  let packedWeightCount: Int
  let workerCount: Int
  /// Floats of one worker's scratch memory.
  let scratchCount: Int
  /// The maximal subtrees of the reduction tree that lie within this rank's microbatches.
  let subtreeCount: Int

  /// Plans an executor; see ``ModelExecutor/init(_:engine:pool:parameters:runningStatistics:imagesPerMicrobatch:microbatches:tree:scope:purpose:roundingLevel:tracer:)``.
  init(
    _ graph: ModelGraph, engine: any ConvolutionEngine, workerCount: Int, imagesPerMicrobatch: Int,
    microbatches: Range<Int>, tree: ReductionTree, scope: BatchNormalizationScope, purpose: ModelExecutor.Purpose
  ) {
    self.graph = graph
    self.scope = scope
    self.workerCount = workerCount
    forward = ForwardSchedule(graph)
    backward = purpose == .training ? BackwardSchedule(graph) : nil
    memory = MemoryPlan(graph, backward)
    imageCount = imagesPerMicrobatch * microbatches.count
    microbatchCount = microbatches.count
    packedWeightCount = graph.convolutions.map(engine.packedWeightCount).max() ?? 0
    scratchCount = engine.scratchCount(
      graph.convolutions, imagesPerMicrobatch: imagesPerMicrobatch, microbatchCount: microbatches.count,
      workerCount: workerCount)
    subtreeCount = tree.maximalSubtrees(of: microbatches).count
  }

  /// Elements of the microbatches' statistics of all layers, where each microbatch has its own.
  var microbatchStatisticsCount: Int {
    scope == .microbatch && backward != nil ? microbatchCount * graph.statisticsLayout.elementCount : 0
  }

  /// The bytes of all buffers.
  var byteCount: Int {
    let slots = memory.activations.elementCount + memory.gradients.elementCount
    let norms = graph.normalizationLayers.reduce(0) {
      $0 + BatchNormalization.byteCount($1, microbatchCount: microbatchCount, scope: scope)
    }
    let head = ClassifierHead.byteCount(
      graph.classifier.layer, imageCount: imageCount, microbatchCount: microbatchCount)
    let parameters =
      backward == nil
      ? 0 : GradientBuffers.byteCount(graph, microbatchCount: microbatchCount, subtreeCount: subtreeCount)
    return 4 * (imageCount * slots + packedWeightCount + workerCount * scratchCount) + norms
      + 8 * microbatchStatisticsCount + head + parameters
  }
}

extension ModelGraph {
  /// Returns the bytes that a ``ModelExecutor`` will allocate, before it allocates anything.
  ///
  /// - Parameters:
  ///   - engine: Computes convolutions.
  ///   - workerCount: The threads of the rank.
  ///   - imagesPerMicrobatch: The images of a microbatch.
  ///   - microbatches: The rank's microbatches of a full batch.
  ///   - tree: The tree over all microbatches of a full batch.
  ///   - scope: How batch statistics are formed.
  ///   - purpose: Whether activations are saved for the backward pass.
  /// - Returns: Bytes.
  public func executorByteCount(
    engine: any ConvolutionEngine, workerCount: Int, imagesPerMicrobatch: Int, microbatches: Range<Int>,
    tree: ReductionTree, scope: BatchNormalizationScope, purpose: ModelExecutor.Purpose
  ) -> Int {
    ExecutorPlan(
      self, engine: engine, workerCount: workerCount, imagesPerMicrobatch: imagesPerMicrobatch,
      microbatches: microbatches, tree: tree, scope: scope, purpose: purpose
    ).byteCount
  }

  /// The bytes of the activations that training saves for the backward pass of `imageCount` images.
  public func savedActivationByteCount(imageCount: Int) -> Int {
    4 * imageCount * MemoryPlan.savedElementCount(self)
  }

  /// The bytes of all activations and their gradients that training holds per image.
  public var trainingByteCountPerImage: Int {
    let plan = MemoryPlan(self, BackwardSchedule(self))
    return 4 * (plan.activations.elementCount + plan.gradients.elementCount)
  }
}
