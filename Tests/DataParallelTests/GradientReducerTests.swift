import Collectives
import DataParallel
import Tensors
import TestSupport
import Testing

/// The reducer's sum is, bit for bit, the sum over the fixed tree, whatever the number of ranks.
@Suite struct GradientReducerTests {
  /// A microbatch's gradient: numbers of such different sizes that every other order of additions gives other bits.
  private static func leaf(_ microbatch: Int, _ count: Int) -> [Float] {
    let stream = RandomStream(seed: 9, purpose: "leaf \(microbatch)")
    return (0..<UInt64(count)).map { i in
      let size = stream.integer(2 * i, below: 12)
      return Float((2 * stream.uniform(2 * i + 1) - 1) * ElementaryFunctions.power(0.1, size))
    }
  }

  /// ((0+1)+(2+3))+…, an odd one carried up.
  private static func treeSum(_ leaves: [[Float]]) -> [Float] {
    var level = leaves
    while level.count > 1 {
      level = stride(from: 0, to: level.count, by: 2).map { i in
        i + 1 < level.count ? zip(level[i], level[i + 1]).map(+) : level[i]
      }
    }
    return level[0]
  }

  @Test(arguments: [8, 7, 5, 13, 1], [1000, 16, 3, 33])
  func bitwiseTheTreesSum(microbatches: Int, elementCount: Int) throws {
    let leaves = (0..<microbatches).map { Self.leaf($0, elementCount) }
    let exact = Self.treeSum(leaves).map(\.bitPattern)
    for worldSize in 1...min(microbatches, 8) {
      let found = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
        try Self.reduce(leaves, elementCount, communicator)
      }
      for rank in 0..<worldSize {
        #expect(found[rank] == exact, "rank \(rank) of \(worldSize)")
      }
    }
  }

  private static func reduce(
    _ leaves: [[Float]], _ elementCount: Int, _ communicator: any Communicator
  ) throws -> [UInt32] {
    let tree = ReductionTree(leafCount: leaves.count)
    let reducer = GradientReducer(elementCount: elementCount, tree: tree, communicator: communicator)
    let mine = tree.ownership(worldSize: communicator.worldSize)[communicator.rank]
    let segments = tree.segments(of: mine).map { node in
      let first = node.index << node.level
      let below = leaves[first..<min(first + (1 << node.level), leaves.count)]
      let sum = AlignedBuffer<Float>(count: elementCount)
      for (i, value) in treeSum(Array(below)).enumerated() { sum.pointer[i] = value }
      return sum
    }
    let result = AlignedBuffer<Float>(count: elementCount)
    // Twice, as in a run: the second reduction must not see the first.
    for _ in 0..<2 { try reducer.reduce({ segments[$0].pointer }, into: result.pointer) }
    return result.elements.map(\.bitPattern)
  }
}
