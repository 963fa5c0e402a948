import Collectives
import Support
import Tensors

/// The microbatches of one batch that this rank computes, and the reductions over all ranks' microbatches.
public struct LocalBatch {
  /// The number of microbatches of the global batch.
  public let globalCount: Int
  /// Which of them are this rank's.
  public let localRange: Range<Int>
  /// The images of every microbatch but possibly the last.
  public let imagesPerMicrobatch: Int
  /// The images of the global batch.
  public let globalImageCount: Int
  /// Reduces the sums of one batch normalization.
  let normReduction: TreeAllReduce
  /// Reduces the losses, during the backward pass.
  let lossReduction: TreeAllReduce
  /// Reduces the statistics of all batch normalizations at once, where each microbatch has its own; during the backward
  /// pass.
  let statisticsReduction: TreeAllReduce

  /// Describes the microbatches of a batch.
  ///
  /// Every rank passes equal arguments but for `localRange`; nothing is communicated.
  ///
  /// - Parameters:
  ///   - graph: The model, which decides how much is reduced.
  ///   - globalImageCount: Images of the global batch.
  ///   - imagesPerMicrobatch: Images of a microbatch; the last has what is left.
  ///   - localRange: This rank's microbatches.
  ///   - tree: The tree over all ⌈images / images per microbatch⌉ of them.
  ///   - communicator: The ranks that share the microbatches.
  public init(
    _ graph: ModelGraph, globalImageCount: Int, imagesPerMicrobatch: Int, localRange: Range<Int>,
    tree: ReductionTree, communicator: any Communicator
  ) {
    self.globalImageCount = globalImageCount
    self.imagesPerMicrobatch = imagesPerMicrobatch
    self.localRange = localRange
    func reduction(_ maximum: Int, tag: Int) -> TreeAllReduce {
      TreeAllReduce(tree: tree, communicator: communicator, maximumElementCount: maximum, tag: tag)
    }
    normReduction = reduction(graph.largestNormalizationSumCount, tag: 0)
    lossReduction = reduction(1, tag: 1)
    statisticsReduction = reduction(graph.statisticsLayout.elementCount, tag: 2)
    globalCount = globalImageCount.dividedRoundingUp(by: imagesPerMicrobatch)
    precondition(localRange.upperBound <= globalCount, "a rank has microbatches beyond the last")
  }

  /// The number of this rank's microbatches.
  public var localCount: Int { localRange.count }

  /// The images of local microbatch `m`.
  public func imageCount(_ m: Int) -> Int {
    let first = (localRange.lowerBound + m) * imagesPerMicrobatch
    return min(imagesPerMicrobatch, globalImageCount - first)
  }

  /// The first image of local microbatch `m` among this rank's images.
  public func firstImage(_ m: Int) -> Int { m * imagesPerMicrobatch }

  /// The position in the global batch of this rank's first image.
  var firstLocalPosition: Int { localRange.lowerBound * imagesPerMicrobatch }

  /// The images of all of this rank's microbatches.
  public var localImageCount: Int {
    localRange.isEmpty
      ? 0
      : min(localRange.upperBound * imagesPerMicrobatch, globalImageCount)
        - localRange.lowerBound * imagesPerMicrobatch
  }
}

extension ModelGraph {
  /// The sums of the widest batch normalization: two per channel.
  fileprivate var largestNormalizationSumCount: Int { 2 * (normalizationLayers.map(\.channels).max() ?? 0) }
}

/// The microbatches of this rank, divided into work items of one layer's forward or backward pass.
struct LayerWorkItems {
  let batch: LocalBatch
  /// The microbatches of every work item but possibly the last.
  let microbatchesPerItem: Int

  /// The number of work items.
  var count: Int { batch.localCount.dividedRoundingUp(by: microbatchesPerItem) }

  /// The first local microbatch of a work item.
  func firstMicrobatch(_ item: Int) -> Int { item * microbatchesPerItem }

  /// The images of a work item.
  func microbatches(_ item: Int) -> MicrobatchRange {
    let first = firstMicrobatch(item)
    let last = min(first + microbatchesPerItem, batch.localCount) - 1
    return MicrobatchRange(
      imageCount: batch.firstImage(last) + batch.imageCount(last) - batch.firstImage(first),
      imagesPerMicrobatch: batch.imagesPerMicrobatch)
  }
}
