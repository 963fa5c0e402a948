/// A set of processor cores (hardware threads), as the operating system numbers them.
public struct CoreSet: Equatable, Sendable {
  /// One bit a core, core 0 in the lowest bit of the first word.
  public private(set) var words: [UInt64]

  /// Makes a set from its words.
  public init(words: [UInt64]) { self.words = words }

  /// Makes a set of the given cores.
  ///
  /// - Parameter cores: Core numbers, none of them negative.
  public init(_ cores: some Sequence<Int>) {
    words = []
    for core in cores {
      while words.count <= core / 64 { words.append(0) }
      words[core / 64] |= 1 << UInt64(core % 64)
    }
  }

  /// The number of cores in the set.
  public var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

  /// Tells whether any core is in both sets.
  ///
  /// - Parameter other: Another set of cores of the same host.
  /// - Returns: Whether they share a core.
  public func intersects(_ other: CoreSet) -> Bool {
    zip(words, other.words).contains { $0 & $1 != 0 }
  }
}
