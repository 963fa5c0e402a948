import Collectives
import Tensors

/// A graph with the schedules of its passes and the memory of its tensors: what an executor needs for one image size.
struct PassPlan {
  let graph: ModelGraph
  let forward: ForwardSchedule
  /// `nil` for inference.
  let backward: BackwardSchedule?
  let memory: MemoryPlan

  init(_ graph: ModelGraph, isTraining: Bool) {
    self.graph = graph
    forward = ForwardSchedule(graph)
    backward = isTraining ? BackwardSchedule(graph) : nil
    memory = MemoryPlan(graph, backward)
  }
}

/// The sizes of all memory of a ``ModelExecutor``, derived before anything is allocated.
///
/// Graphs of several image sizes share all memory: each buffer is as large as the largest of them needs.
struct ExecutorPlan {
  /// The passes by image size, in the order of the graphs.
  let passes: [PassPlan]
  /// Elements per image of every slot of activations, and of their gradients.
  let (activationSizes, gradientSizes): ([Int], [Int])
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
  /// The dropouts at their largest size; none for inference.
  let dropouts: [DropoutLayer]

  /// Plans an executor; see ``ModelExecutor/init(_:otherSizes:engine:pool:parameters:runningStatistics:imagesPerMicrobatch:microbatches:tree:scope:purpose:roundingLevel:labelSmoothing:seed:tracer:)``.
  init(
    _ graphs: [ModelGraph], engine: any ConvolutionEngine, workerCount: Int, imagesPerMicrobatch: Int,
    microbatches: Range<Int>, tree: ReductionTree, scope: BatchNormalizationScope, purpose: ModelExecutor.Purpose
  ) {
    self.scope = scope
    self.workerCount = workerCount
    let passes = graphs.map { PassPlan($0, isTraining: purpose == .training) }
    self.passes = passes
    activationSizes = Self.largest(passes.map(\.memory.activations.sizes))
    gradientSizes = Self.largest(passes.map(\.memory.gradients.sizes))
    imageCount = imagesPerMicrobatch * microbatches.count
    microbatchCount = microbatches.count
    let convolutions = graphs.flatMap(\.convolutions)
    packedWeightCount = convolutions.map(engine.packedWeightCount).max() ?? 0
    scratchCount = engine.scratchCount(
      convolutions, imagesPerMicrobatch: imagesPerMicrobatch, microbatchCount: microbatches.count,
      workerCount: workerCount)
    subtreeCount = tree.maximalSubtrees(of: microbatches).count
    let largestGraph = graphs.max { $0.imageSize < $1.imageSize }
    dropouts = purpose == .training ? largestGraph?.dropoutLayers ?? [] : []
  }

  /// Elements of the microbatches' statistics of all layers, where each microbatch has its own.
  var microbatchStatisticsCount: Int {
    scope == .microbatch && passes[0].backward != nil
      ? microbatchCount * passes[0].graph.statisticsLayout.elementCount : 0
  }

  /// The bytes of all buffers.
  var byteCount: Int {
    let graph = passes[0].graph
    let slots = activationSizes.reduce(0, +) + gradientSizes.reduce(0, +)
    let norms = graph.normalizationLayers.reduce(0) {
      $0 + BatchNormalization.byteCount($1, microbatchCount: microbatchCount, scope: scope)
    }
    let head = ClassifierHead.byteCount(
      graph.classifier.layer, imageCount: imageCount, microbatchCount: microbatchCount)
    let parameters =
      passes[0].backward == nil
      ? 0 : GradientBuffers.byteCount(graph, microbatchCount: microbatchCount, subtreeCount: subtreeCount)
    let masks = dropouts.reduce(0) { $0 + DropoutMasks.byteCount($1, imageCount: imageCount) }
    return 4 * (imageCount * slots + packedWeightCount + workerCount * scratchCount) + norms
      + 8 * microbatchStatisticsCount + head + parameters + masks
  }

  /// Returns the largest number at every position.
  private static func largest(_ lists: [[Int]]) -> [Int] {
    (0..<(lists.map(\.count).max() ?? 0)).map { i in lists.compactMap { i < $0.count ? $0[i] : nil }.max() ?? 0 }
  }
}

extension ModelGraph {
  /// Returns the bytes that a ``ModelExecutor`` will allocate, before it allocates anything.
  ///
  /// - Parameters:
  ///   - otherSizes: The graphs of the same model at other image sizes.
  ///   - engine: Computes convolutions.
  ///   - workerCount: The threads of the rank.
  ///   - imagesPerMicrobatch: The images of a microbatch.
  ///   - microbatches: The rank's microbatches of a full batch.
  ///   - tree: The tree over all microbatches of a full batch.
  ///   - scope: How batch statistics are formed.
  ///   - purpose: Whether activations are saved for the backward pass.
  /// - Returns: Bytes.
  public func executorByteCount(
    otherSizes: [ModelGraph] = [], engine: any ConvolutionEngine, workerCount: Int, imagesPerMicrobatch: Int,
    microbatches: Range<Int>, tree: ReductionTree, scope: BatchNormalizationScope, purpose: ModelExecutor.Purpose
  ) -> Int {
    ExecutorPlan(
      [self] + otherSizes, engine: engine, workerCount: workerCount, imagesPerMicrobatch: imagesPerMicrobatch,
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
