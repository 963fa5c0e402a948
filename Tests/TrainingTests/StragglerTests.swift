import Testing
import Training

/// The slowest rank and the median, and the verdict over a window of steps.
@Suite struct StragglerTests {
  @Test(arguments: 2...17)
  func theMedianIsThatOfASort(worldSize: Int) throws {
    let times = ComputeTimes(worldSize: worldSize)
    var state: UInt64 = 12_345
    for _ in 0..<200 {
      let seconds = (0..<worldSize).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        // Few values, so that many are equal.
        return Double(1 + (state >> 33) % 9)
      }
      let found = try #require(times.straggler { seconds[$0] })
      #expect(found.medianSeconds == seconds.sorted()[(worldSize - 1) / 2])
      #expect(found.seconds == seconds.max())
      #expect(found.rank == seconds.firstIndex(of: found.seconds))
    }
  }

  @Test func withoutTimesThereIsNone() {
    #expect(ComputeTimes(worldSize: 1).straggler { _ in 1 } == nil)
    #expect(ComputeTimes(worldSize: 3).straggler { $0 == 1 ? 0 : 2 } == nil)
  }

  private func vote(_ steps: [(rank: Int, ratio: Double)]) -> (rank: Int, ratio: Double)? {
    var vote = StragglerVote()
    for step in steps { vote.record(.init(rank: step.rank, seconds: step.ratio, medianSeconds: 1)) }
    return vote.result(steps: steps.count)
  }

  @Test func oneSlowRankIsNamed() {
    let found = vote([(0, 1.1), (2, 2), (2, 3), (1, 1.5), (2, 4)])
    #expect(found?.rank == 2 && found?.ratio == 3)
    let paused = vote((1...10).map { (rank: 1, ratio: (4...6).contains($0) ? 1.0 : 2.0) })
    #expect(paused?.rank == 1 && paused?.ratio == 2, "slow in seven of ten steps, with a pause")
  }

  @Test func chanceNamesNobody() {
    #expect(vote([(0, 2), (1, 2), (2, 2), (0, 2), (1, 2), (2, 2)]) == nil, "a different one in every step")
    #expect(vote([(1, 1.2), (1, 1.2), (1, 1.2), (1, 1.2)]) == nil, "hardly slower than the others")
    #expect(vote([(1, 9), (1, 9)]) == nil, "too few steps")
    #expect(vote([(1, 9), (1, 9), (1, 9), (0, 1), (0, 1), (0, 1), (0, 1)]) == nil, "a minority of the steps")
  }
}
