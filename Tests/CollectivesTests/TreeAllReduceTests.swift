import Collectives
import TestSupport
import Testing

@Suite struct TreeAllReduceTests {
  @Test(arguments: 1...8)
  func resultsEqualTheReferenceTree(worldSize: Int) throws {
    try check(hostOfRank: Array(repeating: 0, count: worldSize))
  }

  /// Hierarchical placements, then unequal hosts, hosts of one rank, and ranks alternating between hosts.
  @Test(arguments: [
    [0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 2],
    [0, 1, 0, 1],
  ])
  func resultsEqualTheReferenceTreeOnSeveralHosts(hostOfRank: [Int]) throws { try check(hostOfRank: hostOfRank) }

  private func check(hostOfRank: [Int]) throws {
    let worldSize = hostOfRank.count
    var numbers = TestNumbers(seed: UInt64(worldSize))
    for round in 0..<12 {
      let leafCount = worldSize + numbers.below(25)
      for length in [0, 1, worldSize - 1, 13, 257] {
        let leaves = (0..<leafCount).map { _ in (0..<length).map { _ in numbers.double() } }
        let expected = (0..<length).map { element in
          referenceSum(leaves.map { $0[element] }, +)
        }
        let results = try ThreadCommunicator.run(worldSize: worldSize, hostOfRank: hostOfRank) { communicator in
          let reduction = TreeAllReduce(
            tree: ReductionTree(leafCount: leafCount), communicator: communicator,
            maximumElementCount: 257)
          var result: [Double] = []
          // Twice, as in training: no state of the first may affect the second.
          for _ in 0..<2 {
            var own: [Double] = reduction.ownedLeaves.flatMap { leaves[$0] } + [0]
            result = [Double](repeating: 0.5, count: length + 1)
            try reduction.allReduce(&own, count: length, into: &result)
          }
          return result
        }
        for (rank, result) in results.enumerated() {
          #expect(result[length] == 0.5, "rank \(rank) wrote beyond the result")
          for element in 0..<length {
            #expect(
              sameBits(result[element], expected[element]),
              "round \(round), \(leafCount) leaves, rank \(rank), element \(element)")
          }
        }
      }
    }
  }

  @Test func aSingleRankDoesNotCommunicate() throws {
    let counts = try ThreadCommunicator.run(worldSize: 1) { communicator in
      let reduction = TreeAllReduce(
        tree: ReductionTree(leafCount: 3), communicator: communicator, maximumElementCount: 2)
      var leaves = [1.0, 10, 2, 20, 3, 30]
      var result = [0.0, 0]
      try reduction.allReduce(&leaves, count: 2, into: &result)
      #expect(result == [6, 60])
      return communicator.statistics.sentByteCount
    }
    #expect(counts == [0])
  }

  /// Reduces one number over some microbatches and returns a byte count of each rank.
  private func sentBytes(
    _ leafCount: Int, hostOfRank: [Int], _ count: @escaping @Sendable (CommunicationStatistics) -> Int
  ) throws -> [Int] {
    try ThreadCommunicator.run(worldSize: hostOfRank.count, hostOfRank: hostOfRank) { communicator in
      let reduction = TreeAllReduce(
        tree: ReductionTree(leafCount: leafCount), communicator: communicator, maximumElementCount: 1)
      var leaves = [Double](repeating: 1, count: reduction.ownedLeaves.count)
      var result = [0.0]
      try reduction.allReduce(&leaves, count: 1, into: &result)
      #expect(result == [Double(leafCount)])
      return count(communicator.statistics)
    }
  }

  @Test func everyRankSendsItsSubtreesToTheOthers() throws {
    // Ranks own the microbatches 0–1, 2–4 and 5–7: one, two and two subtrees, to two others each.
    #expect(try sentBytes(8, hostOfRank: [0, 0, 0]) { $0.sentByteCount } == [16, 32, 32])
  }

  /// One sum per host crosses to every other host, for any number of ranks per host.
  @Test func aHostSendsOneSum() throws {
    #expect(
      try sentBytes(12, hostOfRank: [0, 0, 1, 1, 2, 2]) { $0.sentToOtherHostsByteCount } == [16, 0, 16, 0, 16, 0])
  }

  @Test func aVectorAboveTheMaximumLengthTraps() async {
    await #expect(processExitsWith: .failure) {
      let reduction = TreeAllReduce(
        tree: ReductionTree(leafCount: 1), communicator: SingleProcessCommunicator(),
        maximumElementCount: 1)
      var leaves = [1.0, 2]
      var result = [0.0, 0]
      try reduction.allReduce(&leaves, count: 2, into: &result)
    }
  }
}
