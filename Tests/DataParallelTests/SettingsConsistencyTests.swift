import Collectives
import DataParallel
import TestSupport
import Testing

@Suite struct SettingsConsistencyTests {
  /// Returns the message on each rank if rank r has `tables[r]`.
  private func messages(
    _ tables: [[(name: String, value: String)]], _ subject: SettingsConsistency.Subject = .flags
  ) throws -> [String] {
    try ThreadCommunicator.run(worldSize: tables.count) { communicator in
      do {
        try SettingsConsistency.verifyEqual(tables[communicator.rank], subject, on: communicator)
        return "equal"
      } catch let mismatch as SettingsConsistency.Mismatch {
        return mismatch.description
      }
    }
  }

  @Test(arguments: 1...5)
  func equalSettingsPass(worldSize: Int) throws {
    let table = [(name: "depth", value: "22"), (name: "seed", value: "0")]
    #expect(
      try messages([[(name: String, value: String)]](repeating: table, count: worldSize))
        == [String](repeating: "equal", count: worldSize))
  }

  @Test func theMismatchedRankAndBothValuesAreReported() throws {
    let expected = [(name: "depth", value: "22"), (name: "learning-rate", value: "0.01")]
    let other = [(name: "depth", value: "22"), (name: "learning-rate", value: "0.02")]
    let reported = try messages([expected, other, expected])
    #expect(
      Set(reported) == [
        "--learning-rate is 0.01 on ranks 0 and 2 but 0.02 on rank 1; start all ranks with the same flags."
      ])
  }

  @Test func theLowestRankBreaksTies() throws {
    let reported = try messages([[(name: "seed", value: "1")], [(name: "seed", value: "2")]], .data)
    #expect(reported[1] == "the seed is 1 on rank 0 but 2 on rank 1; give all ranks the same images with --data.")
  }

  @Test func missingSettingsAreReported() throws {
    let reported = try messages([[(name: "a", value: "1")], [], [(name: "a", value: "1"), (name: "b", value: "2")]])
    #expect(
      reported[0].hasPrefix(
        "--a is 1 on ranks 0 and 2 but not set on rank 1; --b is not set on ranks 0 and 1 but 2 on rank 2;"))
  }

  @Test func manyMismatchesAreCounted() throws {
    let tables = (0..<6).map { rank in (0..<5).map { (name: "x\($0)", value: "\(rank)") } }
    let reported = try messages(tables)[0]
    #expect(reported.contains("--x0 is 0 on rank 0 but 1 on rank 1 but 2 on rank 2, and other values elsewhere"))
    #expect(reported.contains("; and 2 more differ; start"))
  }

  @Test func separatorsInValuesAreReplaced() throws {
    let reported = try messages([[(name: "a", value: "x\ny\tz")], [(name: "a", value: "x")]])
    #expect(reported[0].contains("--a is x y z on rank 0 but x on rank 1"))
  }

  @Test func descriptionsOfRanks() {
    #expect(RankList.description([3]) == "rank 3")
    #expect(RankList.description([0, 2]) == "ranks 0 and 2")
    #expect(RankList.description([0, 2, 3, 4]) == "ranks 0, 2, 3 and 4")
    #expect(RankList.description([0, 2, 3, 4, 9]) == "ranks 0, 2, 3 and 2 more")
  }

  @Test func groupsAreOrderedBySizeAndThenByLowestRank() {
    let groups = RankConsistency.groups(["c", "a", "b", "a", "b", "d"])
    #expect(groups.map(\.value) == ["a", "b", "c", "d"])
    #expect(groups.map(\.ranks) == [[1, 3], [2, 4], [0], [5]])
    #expect(RankConsistency.groups([Int]()).isEmpty)
  }
}
