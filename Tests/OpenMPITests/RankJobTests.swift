import TestSupport
import Testing

/// Jobs of the rank worker under the real `mpirun`.
@Suite(.serialized) struct RankJobTests {
  @Test(arguments: 1...4)
  func everyRankKnowsItsRank(ranks: Int) throws {
    let output = try MPIRun(ranks: ranks, "rank-worker", ["rank"]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines.count == ranks)
    for rank in 0..<ranks {
      let start = "rank \(rank) of \(ranks), local \(rank) of \(ranks), on "
      #expect(output.lines.contains { $0.hasPrefix(start) && $0.count > start.count })
    }
  }

  @Test func aPlainProcessDoesNotStartOpenMPI() throws {
    let output = try ProcessRun(
      BuiltProducts.executable("rank-worker"), ["rank"],
      environment: MPIRun.environment(adding: [:])
    ).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines == ["single process"])
  }

  @Test(arguments: 1...4)
  func everyCollectiveMovesTheRightBytes(ranks: Int) throws {
    let output = try MPIRun(ranks: ranks, "rank-worker", ["collectives"]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(
      output.lines.sorted()
        == (0..<ranks).map { "rank \($0) of \(ranks): all collectives are right" })
  }

  @Test(arguments: 1...4, ["poll", "thread"])
  func everyMessageMovesTheRightBytes(ranks: Int, progress: String) throws {
    let output = try MPIRun(ranks: ranks, "rank-worker", ["messages", progress]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines.sorted() == (0..<ranks).map { "rank \($0): all messages are right" })
  }

  /// Ranks of one host send at once; those of emulated hosts queue, and partial sums overtake results.
  @Test(arguments: [(1, 1), (2, 2), (2, 1), (3, 1), (4, 1), (4, 2)], ["poll", "thread"])
  func queuedSendsMoveTheRightBytes(placement: (ranks: Int, ranksPerHost: Int), progress: String) throws {
    var job = MPIRun(ranks: placement.ranks, "rank-worker", ["priorities", progress])
    job.environment = ["WRN_RANKS_PER_HOST": "\(placement.ranksPerHost)"]
    let output = try job.run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines.sorted() == (0..<placement.ranks).map { "rank \($0): all messages are right" })
  }

  @Test func treeAllReduceIsBitwiseIdenticalForEveryNumberOfRanks() throws {
    let alone = try ProcessRun(
      BuiltProducts.executable("rank-worker"), ["tree"],
      environment: MPIRun.environment(adding: [:])
    ).run()
    #expect(alone.lines.count == 1 && alone.lines[0].hasPrefix("tree "))
    // On this host, and on two emulated ones.
    for (ranks, ranksPerHost) in [(1, 1), (2, 2), (3, 3), (4, 4), (2, 1), (4, 2)] {
      var job = MPIRun(ranks: ranks, "rank-worker", ["tree"])
      job.environment = ["WRN_RANKS_PER_HOST": "\(ranksPerHost)"]
      let output = try job.run()
      #expect(output.exitCode == 0, "\(output.standardError)")
      #expect(output.lines.count == ranks)
      #expect(Set(output.lines) == Set(alone.lines), "\(ranks) ranks, \(ranksPerHost) per host")
    }
  }

  @Test(.disabled(if: Sanitizer.current == .thread, "the shadow memory of both ranks would be 8 GiB"))
  func aBroadcastAboveOneGibibyteIsSplit() throws {
    let output = try MPIRun(ranks: 2, "rank-worker", ["large-broadcast"]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines.sorted() == (0..<2).map { "rank \($0): large broadcast is right" })
  }

  @Test func moreBytesThanMPICanCountThrow() throws {
    let output = try MPIRun(ranks: 2, "rank-worker", ["too-large"]).run()
    #expect(output.exitCode == 69)
    #expect(
      output.standardError.contains(
        "would move 2147483648 bytes in one allGather, but MPI counts at most 2147483647"))
  }

  @Test(arguments: 1...4)
  func placementsReachEveryRank(ranks: Int) throws {
    let output = try MPIRun(ranks: ranks, "rank-worker", ["placements"]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines.count == ranks)
    for rank in 0..<ranks {
      let start = "rank \(rank) sees itself, \(ranks) ranks on 1 host; usable "
      #expect(output.lines.contains { $0.hasPrefix(start) })
    }
  }

  @Test(.disabled(if: Sanitizer.isActive, "a sanitizer has its own malloc"))
  func collectivesAllocateNothing() throws {
    // With one rank under mpirun, Open MPI allocates nothing for its calls.
    let output = try MPIRun(ranks: 1, "rank-worker", ["allocations"]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines == ["control 1, collectives 0, reductions 0"])
  }

  @Test func moreOutputThanAPipeHoldsArrivesWhole() throws {
    let output = try MPIRun(ranks: 2, "rank-worker", ["flood"]).run()
    #expect(output.exitCode == 0)
    // mpirun may interleave fragments of two ranks' lines, so only bytes and line feeds can be counted.
    let byteCount = (0..<5_000).reduce(0) { $0 + 2 * ("0 \($1) ".utf8.count + 100) }
    for text in [output.standardOutput, output.standardError] {
      #expect(text.utf8.count == byteCount)
      #expect(text.utf8.count { $0 == UInt8(ascii: "\n") } == 10_000)
    }
  }
}
