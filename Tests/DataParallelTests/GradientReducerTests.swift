import Collectives
import DataParallel
import TestSupport
import Testing

/// The exchanged sum is, bit for bit, the sum over the fixed tree, whatever the ranks and however the gradient is cut.
@Suite struct GradientReducerTests {
  private func check(_ example: ReducerHarness.Case, worldSize: Int, hosts: [Int]? = nil) throws {
    let exact = example.sum
    let outcomes = try ThreadCommunicator.run(worldSize: worldSize, hosts: hosts) { communicator in
      let run = ReducerHarness(example, communicator)
      // Twice, as in training: the second step must not see the first.
      _ = try run.step()
      return try run.step()
    }
    for (rank, outcome) in outcomes.enumerated() {
      let isRight = zip(outcome.result, exact).allSatisfy { sameBits($0, $1) }
      #expect(isRight, "rank \(rank) of \(worldSize), \(example)")
    }
  }

  @Test(arguments: 1...8)
  func bitwiseTheTreesSum(worldSize: Int) throws {
    var numbers = TestNumbers(seed: UInt64(worldSize) &* 77)
    for elementCount in [0, 1, worldSize - 1, 127, 1021, 5003, 8192] {
      try check(
        ReducerHarness.Case(
          microbatches: worldSize + numbers.below(13), elementCount: elementCount,
          bucketByteCount: 4096 << numbers.below(4), isSharded: numbers.below(2) == 0,
          seed: numbers.next()), worldSize: worldSize)
    }
  }

  /// Several hosts: 2 × 2, 2 × 3, 3 × 2, 4 × 2 ranks, unequal hosts, hosts of one rank, and hosts that take turns.
  @Test(arguments: [
    [0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 1], [0, 1, 2],
    [0, 1, 0, 1],
  ])
  func bitwiseTheTreesSumOnSeveralHosts(hosts: [Int]) throws {
    var numbers = TestNumbers(seed: UInt64(hosts.count) &* 91)
    for elementCount in [0, 1, 1021, 5003, 8192] {
      for isSharded in [true, false] {
        try check(
          ReducerHarness.Case(
            microbatches: hosts.count + numbers.below(13), elementCount: elementCount,
            bucketByteCount: 4096 << numbers.below(4), isSharded: isSharded, seed: numbers.next()),
          worldSize: hosts.count, hosts: hosts)
      }
    }
  }

  /// Many ranks exchange in groups where their messages would be tiny; 11 ranks have no groups.
  @Test(arguments: [8, 9, 11, 12, 16])
  func bitwiseTheTreesSumOfManyRanks(worldSize: Int) throws {
    var numbers = TestNumbers(seed: UInt64(worldSize) &* 13)
    for elementCount in [1, worldSize - 1, 5003, 20_000] {
      try check(
        ReducerHarness.Case(
          microbatches: worldSize * (1 + numbers.below(2)) + numbers.below(3), elementCount: elementCount,
          isSharded: numbers.below(2) == 0, seed: numbers.next()), worldSize: worldSize)
    }
  }

  /// 16 ranks in groups of 4: 3 + 3 messages there and as many back for a bucket; 15 + 15 where messages are large.
  @Test(arguments: [(4096, 12), (1 << 20, 30)])
  func fewMessagesWhereTheyWouldBeTiny(bucketByteCount: Int, messagesPerBucket: Int) throws {
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
  func normAndWishToStopAreTheSameEverywhere(worldSize: Int) throws {
    var squareSums = Set<UInt64>()
    for bucketByteCount in [4096, 10_000, 1 << 20] {
      let example = ReducerHarness.Case(
        microbatches: 5, elementCount: 7001, bucketByteCount: bucketByteCount, seed: 4)
      for asked in [nil, worldSize - 1] {
        let outcomes = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
          try ReducerHarness(example, communicator).step(stopRequested: communicator.rank == asked)
        }
        for outcome in outcomes {
          squareSums.insert(outcome.squareSum.bitPattern)
          #expect(outcome.stopRequested == (asked != nil))
        }
      }
    }
    let alone = ReducerHarness(
      ReducerHarness.Case(microbatches: 5, elementCount: 7001, seed: 4), SingleProcessCommunicator())
    squareSums.insert(try alone.step().squareSum.bitPattern)
    #expect(squareSums.count == 1)
  }

  @Test func theNormIsThatOfTheGradient() throws {
    // Without infinities, so that there is something to compare.
    let example = ReducerHarness.Case(microbatches: 1, elementCount: 1300, seed: 6)
    let outcome = try ReducerHarness(example, SingleProcessCommunicator()).step()
    let exact = example.sum.reduce(0.0) { $0 + Double($1) * Double($1) }
    #expect(abs(outcome.squareSum - exact) <= 1e-12 * exact || !exact.isFinite)
  }

  @Test func anInfinityReachesTheNormOfEveryRank() throws {
    let example = ReducerHarness.Case(microbatches: 3, elementCount: 4000, seed: 1)
    let isFinite = example.sum.allSatisfy(\.isFinite)
    try #require(!isFinite)
    let outcomes = try ThreadCommunicator.run(worldSize: 3) { try ReducerHarness(example, $0).step() }
    #expect(outcomes.allSatisfy { !$0.squareSum.isFinite })
  }

  /// No all-reduce can do with fewer bytes than 2·(p − 1)/p of the gradient from every rank.
  @Test(arguments: [2, 4, 8], [true, false])
  func sentBytesAreTheLeast(worldSize: Int, isSharded: Bool) throws {
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

  /// Partial sums that were rounded at their level of the tree give the same bits from every number of ranks.
  @Test(arguments: [
    (8, [1, 2, 3, 4, 5, 8]), (6, [1, 2, 3, 6]), (16, [1, 2, 4, 8]), (19, [1, 2]), (64, [1, 2, 4, 8]),
  ])
  func bitwiseTheRoundedTreesSum(microbatches: Int, worldSizes: [Int]) throws {
    var numbers = TestNumbers(seed: UInt64(microbatches))
    for worldSize in worldSizes {
      // Of 19 microbatches five fours are rounded; two ranks would meet within one.
      let isPossible =
        (try? WireFormat.bf16.validate(
          tree: ReductionTree(leafCount: microbatches), worldSize: worldSize)) != nil
      #expect(isPossible == (microbatches != 19 || worldSize == 1))
      guard isPossible else { continue }
      for hosts in [nil, worldSize == 4 ? [0, 0, 1, 1] : nil, worldSize == 8 ? [0, 0, 1, 1, 2, 2, 3, 3] : nil] {
        try check(
          ReducerHarness.Case(
            microbatches: microbatches, elementCount: 3001 + numbers.below(2000),
            bucketByteCount: 4096 << numbers.below(3), isSharded: numbers.below(2) == 0, wire: .bf16,
            seed: numbers.next()), worldSize: worldSize, hosts: hosts)
      }
    }
  }

  /// With a partial sum a rank the way there takes half the bytes; parameters come back whole.
  @Test func roundedSumsTakeHalfTheBytes() throws {
    let example = ReducerHarness.Case(
      microbatches: 16, elementCount: 295_866, bucketByteCount: 65_536, wire: .bf16, seed: nil)
    let outcomes = try ThreadCommunicator.run(worldSize: 8) { try ReducerHarness(example, $0).step() }
    let least = Double(7 * (2 + 4) * example.elementCount / 8)
    for outcome in outcomes {
      #expect((0.98 * least...1.02 * least).contains(Double(outcome.sentByteCount)))
    }
  }

  /// Between hosts only the hosts' own partial sums travel, and each result once: 2·(h − 1)/h of the gradient from every
  /// host, while all of its ranks send equally much.
  @Test(arguments: [[0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3]], [true, false])
  func bytesBetweenHostsAreTheLeast(hosts: [Int], isSharded: Bool) throws {
    let example = ReducerHarness.Case(
      microbatches: 8, elementCount: 295_866, bucketByteCount: 65_536, isSharded: isSharded, seed: nil)
    let outcomes = try ThreadCommunicator.run(worldSize: hosts.count, hosts: hosts) {
      try ReducerHarness(example, $0).step()
    }
    let hostCount = (hosts.max() ?? 0) + 1
    let least = 2 * (hostCount - 1) * 4 * example.elementCount / hostCount
    for host in 0..<hostCount {
      let sent = hosts.indices.filter { hosts[$0] == host }.map { outcomes[$0].sentToOtherHostsByteCount }
      let total = sent.reduce(0, +)
      #expect(Double(total) <= 1.02 * Double(least) && Double(total) >= 0.98 * Double(least))
      #expect(Double(sent.max() ?? 0) <= 1.02 * Double(total) / Double(sent.count))
    }
    // Nor does the stage within a host cost anything: what leaves a rank in all is still the least.
    for outcome in outcomes {
      #expect(
        Double(outcome.sentByteCount)
          <= 1.02 * Double(2 * (hosts.count - 1) * 4 * example.elementCount / hosts.count))
    }
  }

  @Test func differentCutsAreRefused() throws {
    #expect(throws: ConsistencyDigest.Mismatch.self) {
      try ThreadCommunicator.run(worldSize: 3) { communicator in
        let plan = BucketPlan(
          elementCount: 10_000, bucketByteCount: communicator.rank == 1 ? 8192 : 4096)
        try plan.digest.requireEqual("the cut of gradients into buckets", on: communicator)
      }
    }
  }
}
