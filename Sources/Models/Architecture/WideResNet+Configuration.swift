extension WideResNet {
  /// Which network of the family: everything that decides its parameters.
  public struct Configuration: Hashable, Sendable {
    /// How blocks are joined.
    public enum Family: String, Sendable, Codable, CaseIterable {
      /// Trax's `WideResnet`: 3×3 shortcuts with bias on the raw input of every group's first block, and one identity
      /// skip over all later blocks of the group (trax/models/resnet.py).
      case trax
    }

    /// How blocks are joined.
    public var family: Family
    /// The nominal depth, 6·n + 4 with n blocks a group.
    public var depth: Int
    /// k: groups are 16·k, 32·k and 64·k channels wide.
    public var widenFactor: Int

    /// Makes a configuration.
    ///
    /// - Throws: ``InvalidConfiguration`` if the depth is not 6·n + 4 with n ≥ 1 or above 10,000, or the widen factor is below 1.
    public init(family: Family = .trax, depth: Int = 22, widenFactor: Int = 1) throws {
      guard depth <= 10_000 else {
        throw InvalidConfiguration("--depth \(depth) is more than 10000, the deepest network that can be described.")
      }
      guard depth >= 10, (depth - 4) % 6 == 0 else {
        let nearest = max(1, (max(depth, 4) - 4 + 3) / 6) * 6 + 4
        throw InvalidConfiguration(
          "--depth \(depth) is no Wide ResNet: it must be 6·n + 4 (10, 16, 22, 28, …); the nearest is \(nearest).")
      }
      guard (1...64).contains(widenFactor) else {
        throw InvalidConfiguration("--widen-factor \(widenFactor) must lie between 1 and 64.")
      }
      self.family = family
      self.depth = depth
      self.widenFactor = widenFactor
    }

    /// n, the blocks of each of the three groups.
    public var blocksPerGroup: Int { (depth - 4) / 6 }
    /// The channels behind the stem and behind each group.
    public var widths: [Int] { [16, 16 * widenFactor, 32 * widenFactor, 64 * widenFactor] }
    /// The customary name, for example `WRN-22-1`.
    public var name: String { "WRN-\(depth)-\(widenFactor)" }
  }

  /// A configuration that no network has.
  public struct InvalidConfiguration: Error, CustomStringConvertible {
    /// One sentence: which value is wrong and what it may be.
    public let description: String

    init(_ description: String) { self.description = description }
  }

  /// Rows and columns of an input image.
  public static let imageSize = 32
  /// Colour channels of an input image.
  public static let imageChannels = 3
  /// The number of classes.
  public static let classCount = 10
}
