import Support

/// The format in which ranks send partial gradient sums.
///
/// With ``bf16`` the subtree sums at the rounding level of the tree are each rounded once to bfloat16, and added in fp32
/// above that level. The rounding level is the lowest with at most ``maximumRoundedCount`` subtrees, so it depends on the
/// number of microbatches alone. A rank that owns several rounded subtrees adds them first and sends their sum in fp32,
/// which takes no more bytes. The result is therefore bitwise identical for every number of ranks, including one.
public enum WireFormat: String, Sendable, Codable, CaseIterable {
  /// Single precision, unrounded.
  case fp32
  /// Rounded to bfloat16.
  case bf16

  /// The maximum number of subtrees at the rounding level.
  public static let maximumRoundedCount = 8

  /// Returns the rounding level of a tree.
  ///
  /// - Parameter tree: The tree over all microbatches.
  /// - Returns: The level, or `nil` if no sum is rounded.
  public func roundingLevel(of tree: ReductionTree) -> Int? {
    guard self == .bf16 else { return nil }
    var level = 0
    while Self.roundedCount(of: tree, level: level) > Self.maximumRoundedCount { level += 1 }
    return level
  }

  /// Checks that no rank boundary divides a subtree of the rounding level, since no rank could then form its sum.
  ///
  /// - Parameters:
  ///   - tree: The tree over all microbatches.
  ///   - worldSize: The number of ranks, already checked by ``ReductionTree/validate(worldSize:)``.
  /// - Throws: ``WorldSizeError`` if a boundary divides such a subtree.
  public func validate(tree: ReductionTree, worldSize: Int) throws(WorldSizeError) {
    guard let level = roundingLevel(of: tree) else { return }
    func fits(_ ranks: Int) -> Bool {
      tree.leafRanges(worldSize: ranks).dropLast().allSatisfy { $0.upperBound.isMultiple(of: 1 << level) }
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
    tree.leafCount.dividedRoundingUp(by: 1 << level)
  }
}

/// bfloat16: the upper half of a `Float`, with the same range and 8 bits of precision.
///
/// Rounding is round to nearest even (IEEE 754). Values beyond the largest bfloat16 become infinite; infinities and NaNs
/// keep their kind.
public enum BFloat16 {
  /// Rounds numbers to bfloat16 in place; their type stays `Float`.
  ///
  /// - Parameters:
  ///   - values: The numbers.
  ///   - count: The number of values.
  public static func round(_ values: UnsafeMutablePointer<Float>, count: Int) {
    for i in 0..<count {
      let bits = values[i].bitPattern
      let nearest = bits &+ (0x7fff &+ (bits >> 16 & 1))
      // A NaN with a zero upper half would become an infinity, and rounding up could carry into the sign.
      let isNaN = bits & 0x7fff_ffff > 0x7f80_0000
      values[i] = Float(bitPattern: (isNaN ? bits | 0x40_0000 : nearest) & 0xffff_0000)
    }
  }

  /// Packs the upper halves of numbers in place, at the start of their memory; the numbers are overwritten.
  ///
  /// - Parameters:
  ///   - values: Numbers already rounded to bfloat16.
  ///   - count: The number of values.
  /// - Returns: The address of `values`, where the `count` halves now start.
  public static func pack(_ values: UnsafeMutablePointer<Float>, count: Int) -> UnsafeMutablePointer<UInt16> {
    let memory = UnsafeMutableRawPointer(values)
    var i = 0
    // Halves move to lower addresses, so every write goes to memory that has been read.
    while i + 8 <= count {
      let bits = memory.loadUnaligned(fromByteOffset: 4 * i, as: SIMD8<UInt32>.self) &>> 16
      memory.storeBytes(
        of: SIMD8<UInt16>(truncatingIfNeeded: bits), toByteOffset: 2 * i, as: SIMD8<UInt16>.self)
      i += 8
    }
    while i < count {
      let bits = memory.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self)
      memory.storeBytes(of: UInt16(truncatingIfNeeded: bits >> 16), toByteOffset: 2 * i, as: UInt16.self)
      i += 1
    }
    return memory.assumingMemoryBound(to: UInt16.self)
  }

  /// The address for received halves, from which ``unpack(_:count:)`` expands them: the second half of the numbers' memory.
  ///
  /// - Parameters:
  ///   - values: Memory for the numbers.
  ///   - count: The number of values.
  /// - Returns: Memory for `count` halves.
  public static func stagingAddress(
    _ values: UnsafeMutablePointer<Float>, count: Int
  ) -> UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(values).assumingMemoryBound(to: UInt16.self) + count
  }

  /// Expands the halves at ``stagingAddress(_:count:)`` to numbers.
  ///
  /// - Parameters:
  ///   - values: Memory for the numbers, with the halves in its second half.
  ///   - count: The number of values.
  public static func unpack(_ values: UnsafeMutablePointer<Float>, count: Int) {
    let memory = UnsafeMutableRawPointer(values)
    var i = 0
    // Number i overwrites halves up to 2·i + 1 − count, which have been read, because 2·i + 1 − count ≤ i.
    while i + 8 <= count {
      let halves = memory.loadUnaligned(fromByteOffset: 2 * (count + i), as: SIMD8<UInt16>.self)
      memory.storeBytes(
        of: SIMD8<UInt32>(truncatingIfNeeded: halves) &<< 16, toByteOffset: 4 * i, as: SIMD8<UInt32>.self)
      i += 8
    }
    while i < count {
      let half = memory.loadUnaligned(fromByteOffset: 2 * (count + i), as: UInt16.self)
      memory.storeBytes(of: UInt32(half) << 16, toByteOffset: 4 * i, as: UInt32.self)
      i += 1
    }
  }
}
