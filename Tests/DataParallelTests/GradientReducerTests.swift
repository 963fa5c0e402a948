import Collectives
import DataParallel
import TestSupport
import Testing

/// The reduced gradient is bitwise identical to the sum over the fixed tree, for any ranks, hosts and buckets.
@Suite struct GradientReducerTests {
  private func check(_ example: ReducerHarness.Case, worldSize: Int, hostOfRank: [Int]? = nil) throws {
    let exact = example.sum
    let outcomes = try ThreadCommunicator.run(worldSize: worldSize, hostOfRank: hostOfRank) { communicator in
      let harness = ReducerHarness(example, communicator)
      // Twice, as in training: no state of the first step may affect the second.
      _ = try harness.step()
      return try harness.step()
    }
    for (rank, outcome) in outcomes.enumerated() {
      let isRight = zip(outcome.result, exact).allSatisfy { sameBits($0, $1) }
      #expect(isRight, "rank \(rank) of \(worldSize), \(example)")
    }
  }

  @Test(arguments: 1...8)
  func reducedGradientEqualsTheTreeSum(worldSize: Int) throws {
    var numbers = TestNumbers(seed: UInt64(worldSize) &* 77)
    for elementCount in [0, 1, worldSize - 1, 127, 1021, 5003, 8192] {
      try check(
        ReducerHarness.Case(
          microbatches: worldSize + numbers.below(13), elementCount: elementCount,
          bucketByteCount: 4096 << numbers.below(4), isSharded: numbers.below(2) == 0,
          seed: numbers.next()), worldSize: worldSize)
    }
  }

  /// Several hosts: 2 × 2, 2 × 3, 3 × 2, 4 × 2 ranks, unequal hosts, hosts of one rank, and ranks alternating between
  /// hosts.
  @Test(arguments: [
    [0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 1], [0, 1, 2],
    [0, 1, 0, 1],
  ])
  func reducedGradientEqualsTheTreeSumOnSeveralHosts(hostOfRank: [Int]) throws {
    var numbers = TestNumbers(seed: UInt64(hostOfRank.count) &* 91)
    for elementCount in [0, 1, 1021, 5003, 8192] {
      for isSharded in [true, false] {
        try check(
          ReducerHarness.Case(
            microbatches: hostOfRank.count + numbers.below(13), elementCount: elementCount,
            bucketByteCount: 4096 << numbers.below(4), isSharded: isSharded, seed: numbers.next()),
          worldSize: hostOfRank.count, hostOfRank: hostOfRank)
      }
    }
  }

  /// Many ranks reduce in two stages if flat messages would be tiny; 11 ranks, a prime, cannot.
  @Test(arguments: [8, 9, 11, 12, 16])
  func reducedGradientOfManyRanksEqualsTheTreeSum(worldSize: Int) throws {
    var numbers = TestNumbers(seed: UInt64(worldSize) &* 13)
    for elementCount in [1, worldSize - 1, 5003, 20_000] {
      try check(
        ReducerHarness.Case(
          microbatches: worldSize * (1 + numbers.below(2)) + numbers.below(3), elementCount: elementCount,
          isSharded: numbers.below(2) == 0, seed: numbers.next()), worldSize: worldSize)
    }
  }

  /// 16 ranks with inner size 4 send 3 + 3 messages per bucket to reduce and as many to gather; with large messages
  /// 15 + 15.
  @Test(arguments: [(4096, 12), (1 << 20, 30)])
  func twoStagesReplaceTinyMessages(bucketByteCount: Int, messagesPerBucket: Int) throws {
    let example = ReducerHarness.Case(
      microbatches: 16, elementCount: 1 << 20, bucketByteCount: bucketByteCount * 8, seed: nil)
    let buckets = BucketPlan(elementCount: example.elementCount, bucketByteCount: example.bucketByteCount).buckets
    let outcomes = try ThreadCommunicator.run(worldSize: 16) { try ReducerHarness(example, $0).step() }
    for outcome in outcomes {
      #expect(outcome.sentMessageCount == messagesPerBucket * buckets.count)
      #expect(outcome.sentByteCount == 2 * 15 * 4 * example.elementCount / 16)
    }
  }

  @Test(arguments: [1, 2, 3, 5])
  func normAndStopRequestAreTheSameOnEveryRank(worldSize: Int) throws {
    var squareSums = Set<UInt64>()
    for bucketByteCount in [4096, 10_000, 1 << 20] {
      let example = ReducerHarness.Case(
        microbatches: 5, elementCount: 7001, bucketByteCount: bucketByteCount, seed: 4)
      for requesting in [nil, worldSize - 1] {
        let outcomes = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
          try ReducerHarness(example, communicator).step(stopRequested: communicator.rank == requesting)
        }
        for outcome in outcomes {
          squareSums.insert(outcome.squareSum.bitPattern)
          #expect(outcome.stopRequested == (requesting != nil))
        }
      }
    }
    let alone = ReducerHarness(
      ReducerHarness.Case(microbatches: 5, elementCount: 7001, seed: 4), SingleProcessCommunicator())
    squareSums.insert(try alone.step().squareSum.bitPattern)
    #expect(squareSums.count == 1)
  }

  @Test func theNormEqualsTheReference() throws {
    let example = ReducerHarness.Case(microbatches: 1, elementCount: 1300, seed: 6, isFinite: true)
    let outcome = try ReducerHarness(example, SingleProcessCommunicator()).step()
    let exact = example.sum.reduce(0.0) { $0 + Double($1) * Double($1) }
    try #require(exact.isFinite && exact > 0)
    #expect(abs(outcome.squareSum - exact) <= 1e-12 * exact)
  }

  @Test func anInfinityReachesTheNormOfEveryRank() throws {
    let example = ReducerHarness.Case(microbatches: 3, elementCount: 4000, seed: 1)
    let isFinite = example.sum.allSatisfy(\.isFinite)
    try #require(!isFinite)
    let outcomes = try ThreadCommunicator.run(worldSize: 3) { try ReducerHarness(example, $0).step() }
    #expect(outcomes.allSatisfy { !$0.squareSum.isFinite })
  }

  /// Every all-reduce sends at least 2·(p − 1)/p of the gradient from every rank.
  @Test(arguments: [2, 4, 8], [true, false])
  func sentBytesAreMinimal(worldSize: Int, isSharded: Bool) throws {
    let example = ReducerHarness.Case(
      microbatches: 8, elementCount: 295_866, bucketByteCount: 65_536, isSharded: isSharded, seed: nil)
    let outcomes = try ThreadCommunicator.run(worldSize: worldSize) {
      try ReducerHarness(example, $0).step()
    }
    let least = 2 * (worldSize - 1) * 4 * example.elementCount / worldSize
    for outcome in outcomes {
      #expect(Double(outcome.sentByteCount) <= 1.02 * Double(least))
      #expect(Double(outcome.sentByteCount) >= 0.98 * Double(least))
    }
  }

  /// Partial sums rounded at the rounding level give a bitwise identical result for every number of ranks.
  @Test(arguments: [
    (8, [1, 2, 3, 4, 5, 8]), (6, [1, 2, 3, 6]), (16, [1, 2, 4, 8]), (19, [1, 2]), (64, [1, 2, 4, 8]),
  ])
  func reducedGradientEqualsTheRoundedTreeSum(microbatches: Int, worldSizes: [Int]) throws {
    var numbers = TestNumbers(seed: UInt64(microbatches))
    for worldSize in worldSizes {
      // Of 19 microbatches five fours are rounded; the boundary of two ranks would divide one.
      let isPossible =
        (try? WireFormat.bf16.validate(
          tree: ReductionTree(leafCount: microbatches), worldSize: worldSize)) != nil
      #expect(isPossible == (microbatches != 19 || worldSize == 1))
      guard isPossible else { continue }
      for hostOfRank in [nil, worldSize == 4 ? [0, 0, 1, 1] : nil, worldSize == 8 ? [0, 0, 1, 1, 2, 2, 3, 3] : nil] {
        try check(
          ReducerHarness.Case(
            microbatches: microbatches, elementCount: 3001 + numbers.below(2000),
            bucketByteCount: 4096 << numbers.below(3), isSharded: numbers.below(2) == 0, wire: .bf16,
            seed: numbers.next()), worldSize: worldSize, hostOfRank: hostOfRank)
      }
    }
  }

  /// With one partial sum per rank the reduce-scatter takes half the bytes; parameters are gathered in fp32.
  @Test func roundedSumsTakeHalfTheBytes() throws {
    let example = ReducerHarness.Case(
      microbatches: 16, elementCount: 295_866, bucketByteCount: 65_536, wire: .bf16, seed: nil)
    let outcomes = try ThreadCommunicator.run(worldSize: 8) { try ReducerHarness(example, $0).step() }
    let least = Double(7 * (2 + 4) * example.elementCount / 8)
    for outcome in outcomes {
      #expect((0.98 * least...1.02 * least).contains(Double(outcome.sentByteCount)))
    }
  }

  /// Only partial sums of hosts cross the network, and each result once: 2·(h − 1)/h of the gradient leaves every host, in
  /// equal shares of its ranks.
  @Test(arguments: [[0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3]], [true, false])
  func bytesBetweenHostsAreMinimal(hostOfRank: [Int], isSharded: Bool) throws {
    let example = ReducerHarness.Case(
      microbatches: 8, elementCount: 295_866, bucketByteCount: 65_536, isSharded: isSharded, seed: nil)
    let outcomes = try ThreadCommunicator.run(worldSize: hostOfRank.count, hostOfRank: hostOfRank) {
      try ReducerHarness(example, $0).step()
    }
    let hostCount = (hostOfRank.max() ?? 0) + 1
    let least = 2 * (hostCount - 1) * 4 * example.elementCount / hostCount
    for host in 0..<hostCount {
      let sent = hostOfRank.indices.filter { hostOfRank[$0] == host }.map { outcomes[$0].sentToOtherHostsByteCount }
      let total = sent.reduce(0, +)
      #expect(Double(total) <= 1.02 * Double(least) && Double(total) >= 0.98 * Double(least))
      #expect(Double(sent.max() ?? 0) <= 1.02 * Double(total) / Double(sent.count))
    }
    // The inner stage adds no bytes: those that leave a rank in total are minimal, too.
    for outcome in outcomes {
      #expect(
        Double(outcome.sentByteCount)
          <= 1.02 * Double(2 * (hostOfRank.count - 1) * 4 * example.elementCount / hostOfRank.count))
    }
  }

  @Test func differentPlansThrow() throws {
    #expect(throws: ConsistencyDigest.Mismatch.self) {
      try ThreadCommunicator.run(worldSize: 3) { communicator in
        let plan = BucketPlan(
          elementCount: 10_000, bucketByteCount: communicator.rank == 1 ? 8192 : 4096)
        try plan.digest.verifyEqual("the division of the gradient into buckets", on: communicator)
      }
    }
  }
}
