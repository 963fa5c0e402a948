import DataParallel

/// Ranks whose parameters, optimizer states or running statistics have changed in memory, or are no longer bitwise identical.
public struct RanksDesynchronized: Error, CustomStringConvertible {
  /// The step after which the check failed.
  public let step: Int
  /// The first tensor that differs.
  public let tensor: String
  /// The ranks that differ from more than half of all; all ranks if there is no such majority.
  public let ranks: [Int]
  private let differingCount: Int
  private let hasChangedItself: Bool

  /// Finds the majority in the hashes of the first tensor.
  ///
  /// - Parameters:
  ///   - step: The last step done.
  ///   - differing: Each tensor that differs with its hash on every rank, in the model's order.
  init(step: Int, differing: [(name: String, hashes: [UInt64])]) {
    self.step = step
    hasChangedItself = false
    differingCount = differing.count
    tensor = differing.first?.name ?? "unknown"
    let hashes = differing.first?.hashes ?? []
    let largest = RankConsistency.groups(hashes).first?.ranks ?? []
    let majority = 2 * largest.count > hashes.count ? largest : []
    ranks = hashes.indices.filter { !majority.contains($0) }
  }

  /// Describes damage whose ranks are known.
  ///
  /// - Parameters:
  ///   - step: The last step done.
  ///   - tensor: The first tensor.
  ///   - ranks: The ranks whose bits are wrong.
  ///   - hasChangedItself: Whether the rank's own bits have changed since it wrote them; otherwise they differ from the owner's.
  init(step: Int, tensor: String, ranks: [Int], hasChangedItself: Bool) {
    self.step = step
    self.tensor = tensor
    self.ranks = ranks
    self.hasChangedItself = hasChangedItself
    differingCount = 1
  }

  /// One sentence: after which step, which tensor and ranks, and how to continue.
  public var description: String {
    let more = differingCount > 1 ? " and \(differingCount - 1) more tensors" : ""
    let what = hasChangedItself ? "has changed since it was written" : "differs from the other ranks'"
    return
      "after step \(step) \(tensor)\(more) of \(RankList.description(ranks)) \(what), which a fault of "
      + "memory or network can cause; no checkpoint was written, start again to resume from the last one, and without that "
      + "host if it happens again."
  }
}
