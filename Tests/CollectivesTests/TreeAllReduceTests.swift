import Collectives
import TestSupport
import Testing

@Suite struct TreeAllReduceTests {
  @Test(arguments: 1...8)
  func everyRankHoldsTheBitsOfThePlainTree(worldSize: Int) throws {
    try check(hosts: Array(repeating: 0, count: worldSize))
  }

  /// Several hosts: those whose ranks meet first, unequal ones, hosts of one rank, and hosts that take turns.
  @Test(arguments: [
    [0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 2],
    [0, 1, 0, 1],
  ])
  func everyRankHoldsTheBitsOfThePlainTreeOnSeveralHosts(hosts: [Int]) throws { try check(hosts: hosts) }

  private func check(hosts: [Int]) throws {
    let worldSize = hosts.count
    var numbers = TestNumbers(seed: UInt64(worldSize))
    for round in 0..<12 {
      let leafCount = worldSize + numbers.below(25)
      for length in [0, 1, worldSize - 1, 13, 257] {
        let leaves = (0..<leafCount).map { _ in (0..<length).map { _ in numbers.double() } }
        let wanted = (0..<length).map { element in
          referenceSum(leaves.map { $0[element] }, +)
        }
        let results = try ThreadCommunicator.run(worldSize: worldSize, hosts: hosts) { communicator in
          let reduction = TreeAllReduce(
            tree: ReductionTree(leafCount: leafCount), communicator: communicator,
            maximumElementCount: 257)
          var result: [Double] = []
          // Twice, as in training: the second must not see the first.
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
              sameBits(result[element], wanted[element]),
              "round \(round), \(leafCount) leaves, rank \(rank), element \(element)")
          }
        }
      }
    }
  }

  @Test func aWorldOfOneDoesNotCommunicate() throws {
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

  /// Reduces one number over some microbatches and returns what each rank has sent.
  private func sentBytes(
    _ leafCount: Int, hosts: [Int], _ count: @escaping @Sendable (CommunicationStatistics) -> Int
  ) throws -> [Int] {
    try ThreadCommunicator.run(worldSize: hosts.count, hosts: hosts) { communicator in
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
    #expect(try sentBytes(8, hosts: [0, 0, 0]) { $0.sentByteCount } == [16, 32, 32])
  }

  /// One sum of each host crosses to every other host, whatever the ranks of a host.
  @Test func aHostSendsOneSum() throws {
    #expect(try sentBytes(12, hosts: [0, 0, 1, 1, 2, 2]) { $0.sentToOtherHostsByteCount } == [16, 0, 16, 0, 16, 0])
  }

  @Test func aVectorLongerThanPlannedTraps() async {
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
