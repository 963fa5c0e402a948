/// The size of a Wide Residual Network (Zagoruyko and Komodakis, arXiv 1605.07146): WRN-depth-k.
public struct WideResNetConfiguration: Hashable, Sendable {
  /// The nominal depth, 6·n + 4 with n blocks per group.
  public let depth: Int
  /// k: groups are 16·k, 32·k and 64·k channels wide.
  public let widenFactor: Int

  /// Creates a configuration.
  ///
  /// - Throws: ``InvalidModel`` if the depth is not 6·n + 4 with n ≥ 1 or is above 10,000, or if the widen factor is not
  ///   in 1 … 64.
  public init(depth: Int = 22, widenFactor: Int = 1) throws {
    guard depth <= 10_000 else {
      throw InvalidModel("--depth \(depth) is more than 10000, the deepest network that can be described.")
    }
    guard depth >= 10, (depth - 4) % 6 == 0 else {
      let nearest = max(1, (max(depth, 4) - 4 + 3) / 6) * 6 + 4
      throw InvalidModel(
        "--depth \(depth) is not a Wide ResNet depth; use 6n + 4 (10, 16, 22, 28, …), for example \(nearest).")
    }
    guard (1...64).contains(widenFactor) else {
      throw InvalidModel("--widen-factor \(widenFactor) must lie between 1 and 64.")
    }
    self.depth = depth
    self.widenFactor = widenFactor
  }

  /// n, the blocks of each of the three groups.
  public var blocksPerGroup: Int { (depth - 4) / 6 }
  /// The channels of the stem and of each group.
  public var widths: [Int] { [16, 16 * widenFactor, 32 * widenFactor, 64 * widenFactor] }
  /// The customary name, for example `WRN-22-1`.
  public var name: String { "WRN-\(depth)-\(widenFactor)" }
}

/// A network that does not exist.
public struct InvalidModel: Error, CustomStringConvertible {
  /// One sentence: which value is wrong and what it may be.
  public let description: String

  init(_ description: String) { self.description = description }
}
