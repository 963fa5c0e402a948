import Collectives
import TestSupport
import Testing

@Suite struct ReductionTreeTests {
  @Test(arguments: [
    (1, "0"), (2, "(0+1)"), (3, "((0+1)+2)"), (4, "((0+1)+(2+3))"), (5, "(((0+1)+(2+3))+4)"),
    (6, "(((0+1)+(2+3))+(4+5))"), (7, "(((0+1)+(2+3))+((4+5)+6))"),
    (8, "(((0+1)+(2+3))+((4+5)+(6+7)))"),
  ])
  func bracketsAreThoseOfTheDesign(leafCount: Int, brackets: String) {
    let schedule = ReductionSchedule(
      tree: ReductionTree(leafCount: leafCount), leaves: 0..<leafCount)
    var texts = (0..<leafCount).map { "\($0)" }
    replay(schedule, on: &texts)
    #expect(texts[schedule.resultPositions[0]] == brackets)
    #expect(schedule.resultPositions.count == 1)
  }

  @Test func everyNumberOfRanksGivesTheSameBrackets() {
    for leafCount in 1...40 {
      let tree = ReductionTree(leafCount: leafCount)
      let wanted = referenceSum((0..<leafCount).map { "\($0)" }) { "(\($0)+\($1))" }
      for worldSize in 1...leafCount {
        var gathered: [String] = []
        for run in tree.ownership(worldSize: worldSize) {
          let schedule = ReductionSchedule(tree: tree, leaves: run)
          var texts = run.map { "\($0)" }
          replay(schedule, on: &texts)
          gathered += schedule.resultPositions.map { texts[$0] }
        }
        let nodes = tree.ownership(worldSize: worldSize).flatMap { tree.segments(of: $0) }
        let top = ReductionSchedule(joining: nodes, of: tree)
        #expect(top.arrayCount == gathered.count)
        replay(top, on: &gathered)
        #expect(gathered[0] == wanted, "\(leafCount) leaves on \(worldSize) ranks")
      }
    }
  }

  @Test func ownershipIsContiguousCompleteAndBalanced() {
    for leafCount in 1...40 {
      for worldSize in 1...leafCount {
        let runs = ReductionTree(leafCount: leafCount).ownership(worldSize: worldSize)
        #expect(runs.flatMap { Array($0) } == Array(0..<leafCount))
        let sizes = runs.map(\.count)
        #expect(sizes.allSatisfy { $0 == leafCount / worldSize || $0 == leafCount / worldSize + 1 })
      }
    }
    #expect(ReductionTree(leafCount: 8).ownership(worldSize: 3) == [0..<2, 2..<5, 5..<8])
  }

  @Test func segmentsAreMaximalDisjointAndInOrder() {
    for leafCount in 1...20 {
      let tree = ReductionTree(leafCount: leafCount)
      for first in 0...leafCount {
        for end in first...leafCount {
          let pieces = tree.segments(of: first..<end).map { tree.leaves(of: $0) }
          #expect(pieces.flatMap { Array($0) } == Array(first..<end))
          #expect(pieces == maximalSubtrees(leafCount: leafCount, within: first..<end))
        }
      }
    }
  }

  @Test func alignedRunsAreOneSegment() {
    let tree = ReductionTree(leafCount: 8)
    for worldSize in [1, 2, 4, 8] {
      for run in tree.ownership(worldSize: worldSize) {
        #expect(tree.segments(of: run).count == 1)
      }
    }
    #expect(tree.segments(of: 2..<8).map(\.level) == [1, 2])
    #expect(tree.segments(of: 1..<8).map(\.level) == [0, 1, 2])
    #expect(ReductionTree(leafCount: 5).segments(of: 4..<5) == [.init(level: 0, index: 4)])
    #expect(tree.root == .init(level: 3, index: 0))
  }

  @Test func moreRanksThanMicrobatchesIsRefusedWithTheRemedy() throws {
    let tree = ReductionTree(leafCount: 8)
    for worldSize in 1...8 { try tree.validate(worldSize: worldSize) }
    let error = #expect(throws: WorldSizeError.self) { try tree.validate(worldSize: 9) }
    #expect(
      error?.description == "9 ranks cannot share 8 microbatches: start at most 8 ranks "
        + "(mpirun -np 8) or raise --microbatches to at least 9.")
    #expect(throws: WorldSizeError.self) { try tree.validate(worldSize: 0) }
  }

  @Test func moreRanksThanMicrobatchesTrapsInOwnership() async {
    await #expect(processExitsWith: .failure) {
      _ = ReductionTree(leafCount: 2).ownership(worldSize: 3)
    }
  }

  /// The definition, by search: subtrees within the range that lie in no larger one within it.
  private func maximalSubtrees(leafCount: Int, within run: Range<Int>) -> [Range<Int>] {
    var subtrees: Set<Range<Int>> = []
    var level = 0
    while level == 0 || 1 << (level - 1) < leafCount {
      for first in stride(from: 0, to: leafCount, by: 1 << level) {
        subtrees.insert(first..<min(first + 1 << level, leafCount))
      }
      level += 1
    }
    let inside = subtrees.filter { run.contains($0.lowerBound) && $0.upperBound <= run.upperBound }
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
      texts[addition.source] = "spent"
    }
  }
}
