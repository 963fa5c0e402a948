/// The size and family of a Wide Residual Network (Zagoruyko and Komodakis, arXiv 1605.07146): WRN-depth-k.
public struct WideResNetConfiguration: Hashable, Sendable {
  /// A family of networks with these sizes.
  public enum Architecture: String, Sendable, Codable, CaseIterable {
    /// Trax's `WideResnet`, ``TraxWideResNet``.
    case trax
    /// The paper's network, ``PreActivationWideResNet``.
    case wrn
  }

  /// The family.
  public let architecture: Architecture
  /// The nominal depth, 6·n + 4 with n blocks per group, whatever the number of convolutions per block.
  public let depth: Int
  /// k: groups are 16·k, 32·k and 64·k channels wide.
  public let widenFactor: Int
  /// The kernel sizes of a block's convolutions, 1 or 3 each: the paper's B(3,3) is `[3, 3]`.
  public let block: [Int]
  /// The probability that an element is dropped before a block's last convolution, in [0, 1).
  public let dropout: Double
  /// The number of classes.
  public let classCount: Int

  /// Creates a configuration.
  ///
  /// - Throws: ``InvalidModel`` if the depth is not 6·n + 4 with n ≥ 1 or is above 10,000, if the widen factor is not in
  ///   1 … 64, if the block is not a list of 1 to 4 of 1 and 3, if the probability is not in [0, 1), or if Trax's family is
  ///   asked for another block than `[3, 3]`.
  public init(
    architecture: Architecture = .trax, depth: Int = 22, widenFactor: Int = 1, block: [Int] = [3, 3],
    dropout: Double = 0,
    classCount: Int = 10
  ) throws {
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
    guard (1...4).contains(block.count), block.allSatisfy({ $0 == 1 || $0 == 3 }) else {
      throw InvalidModel(
        "--block \(Self.text(block)) is not a list of one to four kernel sizes 1 and 3; use for example 3,3 or 3,1,3.")
    }
    guard architecture == .wrn || block == [3, 3] else {
      throw InvalidModel("--block \(Self.text(block)) needs --architecture wrn; Trax's blocks are 3,3.")
    }
    guard (0..<1).contains(dropout) else {
      throw InvalidModel("--dropout \(dropout) must be a probability in [0, 1), for example 0.3.")
    }
    self.architecture = architecture
    self.depth = depth
    self.widenFactor = widenFactor
    self.block = block
    self.dropout = dropout
    self.classCount = classCount
  }

  /// n, the blocks of each of the three groups.
  public var blocksPerGroup: Int { (depth - 4) / 6 }
  /// The channels of the stem and of each group.
  public var widths: [Int] { [16, 16 * widenFactor, 32 * widenFactor, 64 * widenFactor] }
  /// The customary name, for example `WRN-22-1`, or `WRN-40-2-B(3,1)` for another block than B(3,3).
  public var name: String {
    "WRN-\(depth)-\(widenFactor)" + (block == [3, 3] ? "" : "-B(\(Self.text(block)))")
  }

  /// Builds the network for square color images.
  ///
  /// The size decides the geometries of the layers, but neither names nor shapes of parameters.
  ///
  /// - Parameter imageSize: Rows and columns of an image, a multiple of 4.
  /// - Returns: The graph.
  public func graph(imageSize: Int = 32) -> ModelGraph {
    switch architecture {
    case .trax: TraxWideResNet.graph(self, imageSize: imageSize)
    case .wrn: PreActivationWideResNet.graph(self, imageSize: imageSize)
    }
  }

  private static func text(_ block: [Int]) -> String { block.map(String.init).joined(separator: ",") }
}

/// A network that does not exist.
public struct InvalidModel: Error, CustomStringConvertible {
  /// One sentence: which value is wrong and what it may be.
  public let description: String

  init(_ description: String) { self.description = description }
}
