import Collectives

/// The microbatches of one batch that this rank computes, and the reduction that joins them with the other ranks'.
public struct MicrobatchRun {
  /// The number of microbatches of the global batch.
  public let globalCount: Int
  /// Which of them are this rank's.
  public let localRange: Range<Int>
  /// The images of every microbatch but possibly the last.
  public let imagesPerMicrobatch: Int
  /// The images of the global batch.
  public let globalImageCount: Int
  /// Sums Doubles over all microbatches in the order of the fixed tree.
  public let reduction: TreeReduction

  /// Describes the microbatches of a batch.
  ///
  /// - Parameters:
  ///   - globalImageCount: Images of the global batch.
  ///   - imagesPerMicrobatch: Images of a microbatch; the last has what is left.
  ///   - localRange: This rank's microbatches.
  ///   - reduction: The reduction over all ⌈images / images per microbatch⌉ of them.
  public init(
    globalImageCount: Int, imagesPerMicrobatch: Int, localRange: Range<Int>,
    reduction: TreeReduction
  ) {
    self.globalImageCount = globalImageCount
    self.imagesPerMicrobatch = imagesPerMicrobatch
    self.localRange = localRange
    self.reduction = reduction
    globalCount = (globalImageCount + imagesPerMicrobatch - 1) / imagesPerMicrobatch
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

  /// The images of all of this rank's microbatches.
  public var localImageCount: Int {
    min(localRange.upperBound * imagesPerMicrobatch, globalImageCount)
      - localRange.lowerBound * imagesPerMicrobatch
  }
}
