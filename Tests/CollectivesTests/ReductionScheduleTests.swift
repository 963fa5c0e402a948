import Collectives
import TestSupport
import Testing

extension ReductionSchedule {
  /// Applies the schedule to arrays of `Float` at a constant stride.
  fileprivate func apply(to arrays: inout [Float], stride: Int, elements: Range<Int>) {
    arrays.withUnsafeMutableBufferPointer { memory in
      guard let start = memory.baseAddress else { return }
      apply(to: (0..<arrayCount).map { start + $0 * stride }, elements: elements)
    }
  }
}

@Suite struct ReductionScheduleTests {
  private static let lengths = [0, 1, 2, 3, 7, 31, 64, 127, 1_023, 1_024, 1_025, 2_049, 3_001]

  @Test(arguments: lengths)
  func floatsEqualTheReferenceTree(length: Int) {
    var numbers = TestNumbers(seed: UInt64(length) + 1)
    for leafCount in [1, 2, 3, 5, 6, 8, 11] {
      let padded = length + 5
      let leaves = (0..<leafCount * padded).map { _ in numbers.float() }
      var summed = leaves
      let schedule = ReductionSchedule(
        tree: ReductionTree(leafCount: leafCount), leaves: 0..<leafCount)
      schedule.apply(to: &summed, stride: padded, elements: 0..<length)
      for element in 0..<length {
        let expected = referenceSum((0..<leafCount).map { leaves[$0 * padded + element] }, +)
        #expect(sameBits(summed[element], expected))
      }
      for leaf in 0..<leafCount {
        for gap in leaf * padded + length..<(leaf + 1) * padded {
          #expect(sameBits(summed[gap], leaves[gap]), "an element beyond the range was changed")
        }
      }
    }
  }

  @Test(arguments: lengths)
  func doublesEqualTheReferenceTree(length: Int) {
    var numbers = TestNumbers(seed: UInt64(length) + 1)
    for leafCount in [1, 2, 3, 5, 6, 8, 11] {
      let leaves = (0..<leafCount * length).map { _ in numbers.double() }
      var summed = leaves
      let schedule = ReductionSchedule(
        tree: ReductionTree(leafCount: leafCount), leaves: 0..<leafCount)
      schedule.apply(to: &summed, stride: length, elements: 0..<length)
      for element in 0..<length {
        let expected = referenceSum((0..<leafCount).map { leaves[$0 * length + element] }, +)
        #expect(sameBits(summed[element], expected))
      }
    }
  }

  /// Where leaves 2i and 2i + 1 have been added already, the rest gives the same bits.
  @Test(arguments: [0..<1, 0..<2, 0..<5, 0..<8, 2..<7, 4..<13, 10..<13])
  func pairsOfLeavesMayBeAddedBefore(leaves: Range<Int>) {
    var numbers = TestNumbers(seed: UInt64(leaves.count))
    let length = 37
    let schedule = ReductionSchedule(tree: ReductionTree(leafCount: 13), leaves: leaves)
    var expected = (0..<leaves.count * length).map { _ in numbers.float() }
    var summed = expected
    schedule.apply(to: &expected, stride: length, elements: 0..<length)
    for left in stride(from: 0, to: leaves.count - 1, by: 2) {
      for i in 0..<length { summed[left * length + i] += summed[(left + 1) * length + i] }
    }
    let rest = schedule.withoutLeafPairs
    rest.apply(to: &summed, stride: length, elements: 0..<length)
    #expect(rest.additions.count == schedule.additions.count - leaves.count / 2)
    #expect(rest.resultPositions == schedule.resultPositions && rest.subtrees == schedule.subtrees)
    for position in schedule.resultPositions {
      for i in position * length..<(position + 1) * length { #expect(sameBits(summed[i], expected[i])) }
    }
  }

  @Test func everySubtreeOfAnUnalignedRangeIsATree() {
    var numbers = TestNumbers(seed: 5)
    let tree = ReductionTree(leafCount: 13)
    let length = 37
    for first in 0..<13 {
      for end in first + 1...13 {
        let schedule = ReductionSchedule(tree: tree, leaves: first..<end)
        let leaves = (0..<(end - first) * length).map { _ in numbers.double() }
        var summed = leaves
        schedule.apply(to: &summed, stride: length, elements: 0..<length)
        #expect(schedule.subtrees == tree.maximalSubtrees(of: first..<end))
        for (subtree, position) in zip(schedule.subtrees, schedule.resultPositions) {
          for element in 0..<length {
            let own = tree.leaves(of: subtree).map { leaves[($0 - first) * length + element] }
            #expect(sameBits(summed[position * length + element], referenceSum(own, +)))
          }
        }
      }
    }
  }

  @Test func anyPartitionOfTheElementsIsBitwiseIdentical() {
    var numbers = TestNumbers(seed: 6)
    let schedule = ReductionSchedule(tree: ReductionTree(leafCount: 7), leaves: 0..<7)
    let length = 2_600
    let leaves = (0..<7 * length).map { _ in numbers.float() }
    var whole = leaves
    schedule.apply(to: &whole, stride: length, elements: 0..<length)
    for _ in 0..<20 {
      var partitioned = leaves
      var first = 0
      while first < length {
        let end = min(length, first + 1 + numbers.below(900))
        schedule.apply(to: &partitioned, stride: length, elements: first..<end)
        first = end
      }
      #expect(zip(whole, partitioned).prefix(length).allSatisfy { sameBits($0, $1) })
    }
  }

  @Test func theOrderOfAdditionsAffectsTheBits() {
    // A control: if a sequential sum gave the same bits, the tests above would prove nothing.
    var numbers = TestNumbers(seed: 7)
    let leaves = (0..<8).map { _ in Float(numbers.below(1 << 24)) * 0.1 }
    var summed = leaves
    ReductionSchedule(tree: ReductionTree(leafCount: 8), leaves: 0..<8)
      .apply(to: &summed, stride: 1, elements: 0..<1)
    #expect(summed[0] != leaves.reduce(0, +))
  }
}
