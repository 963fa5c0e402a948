import Collectives
import DataParallel
import TestSupport
import Testing

/// The exchanged sum is, bit for bit, the sum over the fixed tree, whatever the ranks and however the gradient is cut.
@Suite struct GradientExchangeTests {
  private func check(_ example: ExchangeRun.Case, worldSize: Int) throws {
    let exact = example.sum
    let outcomes = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      let run = ExchangeRun(example, communicator)
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
        ExchangeRun.Case(
          microbatches: worldSize + numbers.below(13), elementCount: elementCount,
          bucketByteCount: 4096 << numbers.below(4), isSharded: numbers.below(2) == 0,
          seed: numbers.next()), worldSize: worldSize)
    }
  }

  @Test(arguments: [1, 2, 3, 5])
  func normAndWishToStopAreTheSameEverywhere(worldSize: Int) throws {
    var squareSums = Set<UInt64>()
    for bucketByteCount in [4096, 10_000, 1 << 20] {
      let example = ExchangeRun.Case(
        microbatches: 5, elementCount: 7001, bucketByteCount: bucketByteCount, seed: 4)
      for asked in [nil, worldSize - 1] {
        let outcomes = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
          try ExchangeRun(example, communicator).step(wantsStop: communicator.rank == asked)
        }
        for outcome in outcomes {
          squareSums.insert(outcome.squareSum.bitPattern)
          #expect(outcome.isStopWanted == (asked != nil))
        }
      }
    }
    let alone = ExchangeRun(
      ExchangeRun.Case(microbatches: 5, elementCount: 7001, seed: 4), SoloCommunicator())
    squareSums.insert(try alone.step().squareSum.bitPattern)
    #expect(squareSums.count == 1)
  }

  @Test func theNormIsThatOfTheGradient() throws {
    // Without infinities, so that there is something to compare.
    let example = ExchangeRun.Case(microbatches: 1, elementCount: 1300, seed: 6)
    let outcome = try ExchangeRun(example, SoloCommunicator()).step()
    let exact = example.sum.reduce(0.0) { $0 + Double($1) * Double($1) }
    #expect(abs(outcome.squareSum - exact) <= 1e-12 * exact || !exact.isFinite)
  }

  @Test func anInfinityReachesTheNormOfEveryRank() throws {
    let example = ExchangeRun.Case(microbatches: 3, elementCount: 4000, seed: 1)
    let isFinite = example.sum.allSatisfy(\.isFinite)
    try #require(!isFinite)
    let outcomes = try ThreadCommunicator.run(worldSize: 3) { try ExchangeRun(example, $0).step() }
    #expect(outcomes.allSatisfy { !$0.squareSum.isFinite })
  }

  /// No all-reduce can do with fewer bytes than 2·(p − 1)/p of the gradient from every rank.
  @Test(arguments: [2, 4, 8], [true, false])
  func sentBytesAreTheLeast(worldSize: Int, isSharded: Bool) throws {
    let example = ExchangeRun.Case(
      microbatches: 8, elementCount: 295_866, bucketByteCount: 65_536, isSharded: isSharded, seed: nil)
    let outcomes = try ThreadCommunicator.run(worldSize: worldSize) {
      try ExchangeRun(example, $0).step()
    }
    let least = 2 * (worldSize - 1) * 4 * example.elementCount / worldSize
    for outcome in outcomes {
      #expect(Double(outcome.sentByteCount) <= 1.02 * Double(least))
      #expect(Double(outcome.sentByteCount) >= 0.98 * Double(least))
    }
  }

  @Test func differentCutsAreRefused() throws {
    #expect(throws: LayoutDigest.Mismatch.self) {
      try ThreadCommunicator.run(worldSize: 3) { communicator in
        let plan = BucketPlan(
          elementCount: 10_000, bucketByteCount: communicator.rank == 1 ? 8192 : 4096)
        try plan.digest.requireEqual("the cut of gradients into buckets", on: communicator)
      }
    }
  }
}
