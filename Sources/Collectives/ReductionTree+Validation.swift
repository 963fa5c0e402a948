/// A number of ranks that cannot share the microbatches.
public struct WorldSizeError: Error, CustomStringConvertible, Equatable {
  /// One sentence: the two numbers and what to change.
  public let description: String

  /// Makes an error from its sentence.
  public init(_ description: String) { self.description = description }
}

extension ReductionTree {
  /// Checks that every rank can own at least one leaf.
  ///
  /// - Parameter worldSize: The number of ranks.
  /// - Throws: ``WorldSizeError`` if there are more ranks than leaves, or none.
  public func validate(worldSize: Int) throws(WorldSizeError) {
    guard worldSize <= leafCount else {
      throw WorldSizeError(
        "\(worldSize) ranks cannot share \(leafCount) microbatches: start at most \(leafCount) "
          + "ranks (mpirun -np \(leafCount)) or raise --microbatches to at least \(worldSize).")
    }
    guard worldSize > 0 else {
      throw WorldSizeError("A world of \(worldSize) ranks cannot train: start at least one rank.")
    }
  }
}
