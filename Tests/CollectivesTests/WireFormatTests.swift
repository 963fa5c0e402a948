import Collectives
import TestSupport
import Testing

@Suite struct WireFormatTests {
  @Test(arguments: [(1, 0), (6, 0), (8, 0), (9, 1), (16, 1), (17, 2), (64, 3), (65, 4)])
  func theLowestLevelWithAtMostEightSubtrees(microbatches: Int, level: Int) {
    let tree = ReductionTree(leafCount: microbatches)
    #expect(WireFormat.bf16.roundingLevel(of: tree) == level)
    #expect(WireFormat.fp32.roundingLevel(of: tree) == nil)
  }

  @Test func rankBoundariesWithinARoundedSubtreeThrow() throws {
    let tree = ReductionTree(leafCount: 64)
    for worldSize in [1, 2, 4, 8] { try WireFormat.bf16.validate(tree: tree, worldSize: worldSize) }
    for worldSize in [3, 16, 64] {
      try WireFormat.fp32.validate(tree: tree, worldSize: worldSize)
      let error = #expect(throws: WorldSizeError.self) {
        try WireFormat.bf16.validate(tree: tree, worldSize: worldSize)
      }
      #expect(
        error?.description
          == "\(worldSize) ranks cannot share the 8 partial sums of 8 microbatches that --wire bf16 rounds: start 1, 2, 4 or "
          + "8 ranks, change --microbatches, or use --wire fp32.")
    }
  }

  @Test(arguments: [16, 20, 31])
  func aScheduleRoundsPairsThatWereAddedBefore(leafCount: Int) throws {
    let tree = ReductionTree(leafCount: leafCount)
    let level = try #require(WireFormat.bf16.roundingLevel(of: tree))
    var numbers = TestNumbers(seed: UInt64(leafCount))
    let count = 1500
    var expected = (0..<leafCount * count).map { _ in numbers.float() }
    var summed = expected
    for i in 0..<leafCount / 2 * count {
      let left = i / count * 2 * count + i % count
      summed[left] += summed[left + count]
    }
    func apply(_ schedule: RoundedReductionSchedule, _ flat: inout [Float]) {
      flat.withUnsafeMutableBufferPointer { flat in
        guard let first = flat.baseAddress else { return }
        schedule.apply(to: (0..<leafCount).map { first + $0 * count }, elements: 0..<count)
      }
    }
    let schedule = RoundedReductionSchedule(tree: tree, leaves: 0..<leafCount, level: level)
    apply(schedule, &expected)
    apply(schedule.withoutLeafPairs, &summed)
    for i in 0..<count { #expect(sameBits(summed[i], expected[i])) }
  }

  @Test(arguments: [1, 5, 8, 11, 16, 20])
  func aScheduleRoundsEverySubtreeOnce(leafCount: Int) throws {
    let tree = ReductionTree(leafCount: leafCount)
    let level = try #require(WireFormat.bf16.roundingLevel(of: tree))
    var numbers = TestNumbers(seed: UInt64(leafCount))
    let count = 1500
    let leaves = (0..<leafCount).map { _ in (0..<count).map { _ in numbers.float() } }
    var flat = leaves.flatMap { $0 }
    flat.withUnsafeMutableBufferPointer { flat in
      guard let first = flat.baseAddress else { return }
      let arrays = (0..<leafCount).map { first + $0 * count }
      RoundedReductionSchedule(tree: tree, leaves: 0..<leafCount, level: level)
        .apply(to: arrays, elements: 0..<count)
    }
    for i in 0..<count {
      var sums = stride(from: 0, to: leafCount, by: 1 << level).map { first in
        referenceSum(leaves[first..<min(first + (1 << level), leafCount)].map { $0[i] }, +)
      }
      BFloat16.round(&sums, count: sums.count)
      #expect(sameBits(flat[i], referenceSum(sums, +)))
    }
  }
}
