import Collectives

/// The division of a global batch into microbatches, and of the microbatches among ranks.
///
/// The microbatch is the fixed unit of summation. Images are summed within a microbatch, then microbatches in the order of
/// the fixed `ReductionTree`. Each rank owns a contiguous range of microbatches.
public struct MicrobatchPlan: Hashable, Sendable {
  /// B, the number of images per step over all ranks.
  public let globalBatchSize: Int
  /// M, the number of microbatches per step.
  public let microbatchCount: Int
  /// This rank's microbatches.
  public let localMicrobatches: Range<Int>

  /// Creates the plan of one rank.
  ///
  /// - Parameters:
  ///   - globalBatchSize: B.
  ///   - microbatchCount: M.
  ///   - rank: This rank.
  ///   - worldSize: The number of ranks.
  /// - Throws: ``InvalidPlan`` unless B is 1 … 65,536 and a multiple of M; `WorldSizeError` if there are more ranks than
  ///   microbatches.
  public init(globalBatchSize: Int, microbatchCount: Int, rank: Int, worldSize: Int) throws {
    guard (1...65_536).contains(globalBatchSize) else {
      throw InvalidPlan("--batch-size \(globalBatchSize) must lie between 1 and 65536.")
    }
    guard microbatchCount > 0 else {
      throw InvalidPlan("--microbatches \(microbatchCount) must be at least 1.")
    }
    guard globalBatchSize.isMultiple(of: microbatchCount) else {
      let divisors = (1...globalBatchSize).filter { globalBatchSize.isMultiple(of: $0) }
      let nearest = divisors.min { abs($0 - microbatchCount) < abs($1 - microbatchCount) } ?? 1
      throw InvalidPlan(
        "--batch-size \(globalBatchSize) is not a multiple of --microbatches \(microbatchCount); "
          + "use --microbatches \(nearest).")
    }
    let tree = ReductionTree(leafCount: microbatchCount)
    try tree.validate(worldSize: worldSize)
    self.globalBatchSize = globalBatchSize
    self.microbatchCount = microbatchCount
    localMicrobatches = tree.leafRanges(worldSize: worldSize)[rank]
  }

  /// A batch that cannot be divided into the requested microbatches.
  public struct InvalidPlan: Error, CustomStringConvertible {
    /// One sentence: the invalid setting and the fix.
    public let description: String

    init(_ description: String) { self.description = description }
  }

  /// The fixed tree over the microbatches.
  public var tree: ReductionTree { ReductionTree(leafCount: microbatchCount) }
  /// B / M, the number of images per microbatch.
  public var imagesPerMicrobatch: Int { globalBatchSize / microbatchCount }
  /// The number of images per step on this rank.
  public var localBatchSize: Int { localMicrobatches.count * imagesPerMicrobatch }
  /// The indices of this rank's images in the global batch.
  public var localImages: Range<Int> {
    localMicrobatches.lowerBound * imagesPerMicrobatch..<localMicrobatches.upperBound
      * imagesPerMicrobatch
  }
}
