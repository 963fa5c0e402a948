import Collectives
import TestSupport
import Testing

@Suite struct RankPlacementTests {
  private func threads(_ ranks: [(host: String, cores: Range<Int>)]) -> [Int] {
    let placements = ranks.map { RankPlacement(hostName: $0.host, cores: CPUSet($0.cores)) }
    return placements.indices.map {
      RankPlacement.defaultThreadCount(rank: $0, placements: placements)
    }
  }

  @Test func coresAreDividedAmongOverlappingRanksOfAHost() {
    #expect(threads([("a", 0..<8)]) == [8])
    #expect(threads([("a", 0..<8), ("a", 0..<8)]) == [4, 4])
    #expect(threads([("a", 0..<8), ("b", 0..<8)]) == [8, 8])
    #expect(threads([("a", 0..<4), ("a", 4..<8)]) == [4, 4])
    #expect(threads([("a", 0..<8), ("a", 0..<8), ("a", 0..<8)]) == [2, 2, 2])
    #expect(threads([("a", 0..<2), ("a", 0..<2), ("a", 0..<2), ("a", 0..<2)]) == [1, 1, 1, 1])
    #expect(threads([("a", 0..<1), ("a", 0..<1)]) == [1, 1])
    #expect(threads([("a", 0..<6), ("a", 4..<8), ("a", 6..<8)]) == [3, 1, 1])
    #expect(threads([("a", 0..<100), ("a", 64..<70), ("b", 0..<100)]) == [50, 3, 100])
  }

  @Test func oneRankPerCoreComputes() {
    func computing(_ ranks: [(host: String, cores: [Int])]) -> [Bool] {
      let names = ranks.map(\.host)
      return RankPlacement.computingRanks(
        ranks.map { RankPlacement(hostName: $0.host, cores: CPUSet($0.cores)) },
        hostOfRank: names.map { name in name == names[0] ? 0 : 1 })
    }
    let both = [0, 1]
    #expect(computing([("a", [0])]) == [true])
    #expect(computing([("a", both), ("a", both)]) == [true, true])
    #expect(computing([("a", both), ("a", both), ("a", both), ("a", both)]) == [true, true, false, false])
    #expect(computing([("a", [0]), ("a", [1]), ("a", [0]), ("a", [1])]) == [true, true, false, false])
    #expect(computing([("a", [0]), ("b", [0]), ("a", [0]), ("b", [0])]) == [true, true, false, false])
    #expect(computing([("a", [70, 3]), ("a", [70]), ("a", [3, 70, 200])]) == [true, true, true])
    #expect(computing([("a", both), ("b", both), ("b", both), ("b", both)]) == [true, true, true, false])
  }

  @Test func cpuSetsCountAndIntersect() {
    #expect(CPUSet([]).count == 0)
    #expect(CPUSet([0, 63, 64, 200]).count == 4)
    #expect(CPUSet([0, 0, 0]).count == 1)
    #expect(CPUSet([200]).intersects(CPUSet([3, 200])))
    #expect(!CPUSet([200]).intersects(CPUSet([3])))
    #expect(!CPUSet([]).intersects(CPUSet([3])))
  }

  @Test func coresOfASetAreAscending() {
    #expect(CPUSet([200, 0, 64, 63]).cores == [0, 63, 64, 200])
    #expect(CPUSet([]).cores.isEmpty)
  }

  @Test func moreThreadsThanCoresAreAWarning() {
    let placements = [4, 2, 1].map { RankPlacement(hostName: "a", cores: CPUSet(0..<$0)) }
    func warning(_ threads: Int) -> String? {
      RankPlacement.threadWarning(threadCount: threads, placements: placements)
    }
    #expect(warning(1) == nil)
    #expect(
      warning(2)
        == "rank 2 has 2 threads on 1 core, which is slower than one thread per core; lower --threads to 1.")
    #expect(warning(3)?.hasPrefix("rank 1 has 3 threads on 2 cores, ") == true)
    #expect(warning(5)?.hasSuffix("; lower --threads to 4.") == true)
  }

  @Test func placementsReachEveryRank() throws {
    let gathered = try ThreadCommunicator.run(worldSize: 3) { communicator in
      try RankPlacement.allGather(
        RankPlacement(
          hostName: communicator.rank == 2 ? "b" : "a", cores: CPUSet([communicator.rank, 100 * communicator.rank])),
        communicator: communicator)
    }
    for placements in gathered {
      #expect(placements.count == 3)
      #expect(placements[0].hostHash == placements[1].hostHash)
      #expect(placements[0].hostHash != placements[2].hostHash)
      #expect(placements.map(\.cores.count) == [1, 2, 2])
      #expect(placements[2].cores.intersects(CPUSet([200])))
    }
  }

  @Test func onlyRanksBoundToFewerCoresThanThreadsAreReported() {
    func problem(threads: Int, usable: Int, online: Int) -> String? {
      RankPlacement.affinityProblem(
        rank: 0, threadCount: threads, usableCoreCount: usable, onlineCoreCount: online)
    }
    #expect(problem(threads: 4, usable: 4, online: 8) == nil)
    #expect(problem(threads: 9, usable: 8, online: 8) == nil)
    #expect(problem(threads: 1, usable: 1, online: 8) == nil)
    #expect(
      problem(threads: 4, usable: 1, online: 8)
        == "Rank 0 is bound to 1 core of 8 but --threads 4 asks for more: start it with mpirun "
        + "--bind-to none or mpirun --map-by slot:PE=4 --bind-to core, or lower --threads to 1.")
    #expect(problem(threads: 4, usable: 2, online: 8)?.contains("2 cores of 8") == true)
  }

  @Test(arguments: [
    ([0, 0, 1, 1], 2), ([0, 0, 0, 1, 1, 1], 3), ([0, 0, 1, 1, 2, 2], 2), ([0], nil), ([0, 0, 0], nil),
    ([0, 1, 2], nil),
    ([0, 0, 0, 1], nil), ([0, 1, 0, 1], nil), ([0, 0, 1, 1, 0, 0], nil),
  ])
  func ranksPerHostAreUniformUnderBlockPlacementOnly(hostOfRank: [Int], ranksPerHost: Int?) {
    #expect(RankPlacement.uniformRanksPerHost(hostOfRank) == ranksPerHost)
  }

  @Test func hostsAreHashedWithFNV1a() {
    // From the table of test vectors in RFC 9923.
    #expect(RankPlacement(hostName: "foobar", cores: CPUSet([0])).hostHash == 0x8594_4171_f739_67e8)
  }
}
