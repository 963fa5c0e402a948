import Collectives
import Foundation

extension RankWorker {
  /// Prints a hash of the bits of many tree all-reduces, which is equal on every rank and for every world size.
  static func printTreeReduction(_ communicator: any Communicator) throws {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for leafCount in 4...13 {
      let tree = ReductionTree(leafCount: leafCount)
      let reduction = TreeAllReduce(
        tree: tree, communicator: communicator, maximumElementCount: 1_009)
      for count in [0, 1, 2, 3, 16, 1_009] {
        var leaves = reduction.ownedLeaves.flatMap { leaf in
          (0..<count).map { partial(leaf: leaf, element: $0) }
        }
        leaves.append(0)
        var result = [Double](repeating: .nan, count: max(1, count))
        try reduction.allReduce(&leaves, count: count, into: &result)
        for element in 0..<count {
          hash = (hash ^ result[element].bitPattern) &* 0x100_0000_01b3
        }
      }
    }
    line("tree \(String(hash, radix: 16))")
  }

  /// Numbers of very different magnitudes, so that the order of additions affects the last bits.
  private static func partial(leaf: Int, element: Int) -> Double {
    var state = UInt64(leaf) &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(element)
    for _ in 0..<3 { state = (state ^ state >> 29) &* 0xbf58_476d_1ce4_e5b9 }
    let mantissa = Double(Int64(bitPattern: state) >> 11)
    return mantissa * Double(sign: .plus, exponent: Int(state % 40) - 50, significand: 1)
  }
}
