import Collectives

/// How a global batch is cut into microbatches and the microbatches are divided among ranks.
///
/// The microbatch is the unit of work and of determinism: sums over images are formed within a microbatch first, then over
/// microbatches by the fixed ``ReductionTree``. Each rank owns a contiguous run of them.
public struct MicrobatchPlan: Hashable, Sendable {
  /// B, the images of one step over all ranks.
  public let globalBatchSize: Int
  /// M, the microbatches of one step.
  public let microbatchCount: Int
  /// This rank's microbatches.
  public let localMicrobatches: Range<Int>

  /// Makes the plan of one rank.
  ///
  /// - Parameters:
  ///   - globalBatchSize: B.
  ///   - microbatchCount: M.
  ///   - rank: This rank.
  ///   - worldSize: The number of ranks.
  /// - Throws: ``InvalidPlan`` unless M divides B, which is 65,536 at most, `WorldSizeError` unless there is a microbatch for every rank.
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
        "--batch-size \(globalBatchSize) cannot be cut into --microbatches \(microbatchCount) equal parts; "
          + "--microbatches \(nearest) would do.")
    }
    let tree = ReductionTree(leafCount: microbatchCount)
    try tree.validate(worldSize: worldSize)
    self.globalBatchSize = globalBatchSize
    self.microbatchCount = microbatchCount
    localMicrobatches = tree.ownership(worldSize: worldSize)[rank]
  }

  /// A batch that cannot be divided as asked.
  public struct InvalidPlan: Error, CustomStringConvertible {
    /// One sentence: what does not fit and what would.
    public let description: String

    init(_ description: String) { self.description = description }
  }

  /// The fixed tree over the microbatches.
  public var tree: ReductionTree { ReductionTree(leafCount: microbatchCount) }
  /// B / M.
  public var imagesPerMicrobatch: Int { globalBatchSize / microbatchCount }
  /// The images of one step on this rank.
  public var localBatchSize: Int { localMicrobatches.count * imagesPerMicrobatch }
  /// This rank's images among those of the global batch.
  public var localImages: Range<Int> {
    localMicrobatches.lowerBound * imagesPerMicrobatch..<localMicrobatches.upperBound
      * imagesPerMicrobatch
  }
}
