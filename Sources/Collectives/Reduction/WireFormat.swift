/// In what form partial sums of gradients travel between ranks.
///
/// With ``bf16`` the sums of one level of the tree are rounded to bfloat16, each once, and added in single precision from
/// there on. The level depends on the number of microbatches alone: it is the lowest that has at most
/// ``maximumRoundedCount`` subtrees. A rank that has several of these adds them first and sends the sum as it is, which
/// takes no more bytes; so the result has the same bits for every number of ranks, one among them.
public enum WireFormat: String, Sendable, Codable, CaseIterable {
  /// As they are, in single precision.
  case fp32
  /// Rounded to bfloat16.
  case bf16

  /// The most subtrees whose sums are rounded.
  public static let maximumRoundedCount = 8

  /// Returns the level of the tree whose sums are rounded.
  ///
  /// - Parameter tree: The tree over all microbatches.
  /// - Returns: The level; nil if no sum is rounded.
  public func roundingLevel(of tree: ReductionTree) -> Int? {
    guard self == .bf16 else { return nil }
    var level = 0
    while Self.roundedCount(of: tree, level: level) > Self.maximumRoundedCount { level += 1 }
    return level
  }

  /// Checks that no rank begins or ends within a subtree whose sum is rounded: nobody could form that sum.
  ///
  /// - Parameters:
  ///   - tree: The tree over all microbatches.
  ///   - worldSize: The number of ranks, which ``ReductionTree/validate(worldSize:)`` has checked.
  /// - Throws: ``WorldSizeError`` if one does.
  public func validate(tree: ReductionTree, worldSize: Int) throws(WorldSizeError) {
    guard let level = roundingLevel(of: tree) else { return }
    func fits(_ ranks: Int) -> Bool {
      tree.ownership(worldSize: ranks).dropLast().allSatisfy { $0.upperBound.isMultiple(of: 1 << level) }
    }
    guard !fits(worldSize) else { return }
    let count = Self.roundedCount(of: tree, level: level)
    let possible = (1...count).filter(fits).map(String.init)
    let list =
      possible.count == 1 ? "1" : possible.dropLast().joined(separator: ", ") + " or " + possible[possible.count - 1]
    throw WorldSizeError(
      "\(worldSize) ranks cannot share the \(count) partial sums of \(1 << level) microbatches that --wire bf16 rounds: start "
        + "\(list) ranks, change --microbatches, or use --wire fp32.")
  }

  private static func roundedCount(of tree: ReductionTree, level: Int) -> Int {
    (tree.leafCount + (1 << level) - 1) >> level
  }
}
