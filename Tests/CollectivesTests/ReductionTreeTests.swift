import Collectives
import TestSupport
import Testing

@Suite struct ReductionTreeTests {
  @Test(arguments: [
    (1, "0"), (2, "(0+1)"), (3, "((0+1)+2)"), (4, "((0+1)+(2+3))"), (5, "(((0+1)+(2+3))+4)"),
    (6, "(((0+1)+(2+3))+(4+5))"), (7, "(((0+1)+(2+3))+((4+5)+6))"),
    (8, "(((0+1)+(2+3))+((4+5)+(6+7)))"),
  ])
  func theTreeHasTheseBrackets(leafCount: Int, brackets: String) {
    let schedule = ReductionSchedule(
      tree: ReductionTree(leafCount: leafCount), leaves: 0..<leafCount)
    var texts = (0..<leafCount).map { "\($0)" }
    replay(schedule, on: &texts)
    #expect(texts[schedule.resultPositions[0]] == brackets)
    #expect(schedule.resultPositions.count == 1)
  }

  @Test func bracketsDoNotDependOnTheNumberOfRanks() {
    for leafCount in 1...40 {
      let tree = ReductionTree(leafCount: leafCount)
      let wanted = referenceSum((0..<leafCount).map { "\($0)" }) { "(\($0)+\($1))" }
      for worldSize in 1...leafCount {
        var gathered: [String] = []
        for range in tree.leafRanges(worldSize: worldSize) {
          let schedule = ReductionSchedule(tree: tree, leaves: range)
          var texts = range.map { "\($0)" }
          replay(schedule, on: &texts)
          gathered += schedule.resultPositions.map { texts[$0] }
        }
        let nodes = tree.leafRanges(worldSize: worldSize).flatMap { tree.maximalSubtrees(of: $0) }
        let top = ReductionSchedule(merging: nodes, of: tree)
        #expect(top.arrayCount == gathered.count)
        replay(top, on: &gathered)
        #expect(gathered[0] == wanted, "\(leafCount) leaves on \(worldSize) ranks")
      }
    }
  }

  @Test func leafRangesAreContiguousCompleteAndBalanced() {
    for leafCount in 1...40 {
      for worldSize in 1...leafCount {
        let ranges = ReductionTree(leafCount: leafCount).leafRanges(worldSize: worldSize)
        #expect(ranges.flatMap { Array($0) } == Array(0..<leafCount))
        let sizes = ranges.map(\.count)
        #expect(sizes.allSatisfy { $0 == leafCount / worldSize || $0 == leafCount / worldSize + 1 })
      }
    }
    #expect(ReductionTree(leafCount: 8).leafRanges(worldSize: 3) == [0..<2, 2..<5, 5..<8])
  }

  @Test func subtreesAreMaximalDisjointAndInOrder() {
    for leafCount in 1...20 {
      let tree = ReductionTree(leafCount: leafCount)
      for first in 0...leafCount {
        for end in first...leafCount {
          let subtrees = tree.maximalSubtrees(of: first..<end).map { tree.leaves(of: $0) }
          #expect(subtrees.flatMap { Array($0) } == Array(first..<end))
          #expect(subtrees == maximalSubtrees(leafCount: leafCount, within: first..<end))
        }
      }
    }
  }

  @Test func alignedRangesAreOneSubtree() {
    let tree = ReductionTree(leafCount: 8)
    for worldSize in [1, 2, 4, 8] {
      for range in tree.leafRanges(worldSize: worldSize) {
        #expect(tree.maximalSubtrees(of: range).count == 1)
      }
    }
    #expect(tree.maximalSubtrees(of: 2..<8).map(\.level) == [1, 2])
    #expect(tree.maximalSubtrees(of: 1..<8).map(\.level) == [0, 1, 2])
    #expect(ReductionTree(leafCount: 5).maximalSubtrees(of: 4..<5) == [.init(level: 0, index: 4)])
    #expect(tree.root == .init(level: 3, index: 0))
  }

  @Test func moreRanksThanMicrobatchesThrowWithTheFix() throws {
    let tree = ReductionTree(leafCount: 8)
    for worldSize in 1...8 { try tree.validate(worldSize: worldSize) }
    let error = #expect(throws: WorldSizeError.self) { try tree.validate(worldSize: 9) }
    #expect(
      error?.description == "9 ranks cannot share 8 microbatches: start at most 8 ranks "
        + "(mpirun -np 8) or raise --microbatches to at least 9.")
    #expect(throws: WorldSizeError.self) { try tree.validate(worldSize: 0) }
  }

  @Test func moreRanksThanMicrobatchesTrapInLeafRanges() async {
    await #expect(processExitsWith: .failure) {
      _ = ReductionTree(leafCount: 2).leafRanges(worldSize: 3)
    }
  }

  /// A reference by search: all subtrees within the range that no larger subtree within it contains.
  private func maximalSubtrees(leafCount: Int, within range: Range<Int>) -> [Range<Int>] {
    var subtrees: Set<Range<Int>> = []
    var level = 0
    while level == 0 || 1 << (level - 1) < leafCount {
      for first in stride(from: 0, to: leafCount, by: 1 << level) {
        subtrees.insert(first..<min(first + 1 << level, leafCount))
      }
      level += 1
    }
    let inside = subtrees.filter { range.contains($0.lowerBound) && $0.upperBound <= range.upperBound }
    return inside.filter { small in
      !inside.contains {
        $0 != small && $0.lowerBound <= small.lowerBound && $0.upperBound >= small.upperBound
      }
    }.sorted { $0.lowerBound < $1.lowerBound }
  }

  private func replay(_ schedule: ReductionSchedule, on texts: inout [String]) {
    for addition in schedule.additions {
      texts[addition.destination] =
        "(\(texts[addition.destination])+\(texts[addition.source]))"
      texts[addition.source] = "overwritten"
    }
  }
}
