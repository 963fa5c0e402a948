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

/// bfloat16: the upper half of a `Float`, 8 bits of precision in the same range.
///
/// Numbers are rounded to the nearest, of two equally near ones to the even one. Infinities and the kind of a number stay;
/// what is too large for a bfloat16 becomes an infinity, and a NaN stays one.
public enum BFloat16 {
  /// Rounds numbers to bfloat16 where they are; they remain `Float`.
  ///
  /// - Parameters:
  ///   - values: The numbers.
  ///   - count: How many there are.
  public static func round(_ values: UnsafeMutablePointer<Float>, count: Int) {
    for i in 0..<count {
      let bits = values[i].bitPattern
      let nearest = bits &+ (0x7fff &+ (bits >> 16 & 1))
      // A NaN whose upper half is zeros would become an infinity, and rounding up could carry into the sign.
      let isNaN = bits & 0x7fff_ffff > 0x7f80_0000
      values[i] = Float(bitPattern: (isNaN ? bits | 0x40_0000 : nearest) & 0xffff_0000)
    }
  }

  /// Moves the upper halves of numbers together, to the beginning of their own memory; the numbers are spent.
  ///
  /// - Parameters:
  ///   - values: Numbers that are bfloat16s already.
  ///   - count: How many there are.
  /// - Returns: `count` halves, which begin where `values` does.
  public static func pack(_ values: UnsafeMutablePointer<Float>, count: Int) -> UnsafeMutablePointer<UInt16> {
    let memory = UnsafeMutableRawPointer(values)
    var i = 0
    // What is written has been read before: halves move to the left.
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

  /// Where halves are to be put so that ``unpack(_:count:)`` can make numbers of them: in the second half of their memory.
  ///
  /// - Parameters:
  ///   - values: Memory for the numbers.
  ///   - count: How many there will be.
  /// - Returns: Room for `count` halves.
  public static func packed(_ values: UnsafeMutablePointer<Float>, count: Int) -> UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(values).assumingMemoryBound(to: UInt16.self) + count
  }

  /// Makes numbers of the halves that lie at ``packed(_:count:)``.
  ///
  /// - Parameters:
  ///   - values: Memory for the numbers, with the halves in its second half.
  ///   - count: How many there are.
  public static func unpack(_ values: UnsafeMutablePointer<Float>, count: Int) {
    let memory = UnsafeMutableRawPointer(values)
    var i = 0
    // Number i is written over half 2·i + 1 − count at most, which has been read, because 2·i + 1 − count ≤ i.
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
