import Collectives
import DataParallel
import TestSupport
import Testing

@Suite struct SettingsConsistencyTests {
  /// What each rank is told when rank r has `tables[r]`.
  private func sentences(
    _ tables: [[(name: String, value: String)]], _ subject: SettingsConsistency.Subject = .flags
  ) throws -> [String] {
    try ThreadCommunicator.run(worldSize: tables.count) { world in
      do {
        try SettingsConsistency.requireEqual(tables[world.rank], subject, on: world)
        return "equal"
      } catch let difference as SettingsConsistency.Difference {
        return difference.description
      }
    }
  }

  @Test(arguments: 1...5)
  func equalSettings(worldSize: Int) throws {
    let table = [(name: "depth", value: "22"), (name: "seed", value: "0")]
    #expect(
      try sentences([[(name: String, value: String)]](repeating: table, count: worldSize))
        == [String](repeating: "equal", count: worldSize))
  }

  @Test func theOddRankAndBothValuesAreNamed() throws {
    let usual = [(name: "depth", value: "22"), (name: "learning-rate", value: "0.01")]
    let odd = [(name: "depth", value: "22"), (name: "learning-rate", value: "0.02")]
    let found = try sentences([usual, odd, usual])
    #expect(
      Set(found) == [
        "--learning-rate is 0.01 on ranks 0 and 2 but 0.02 on rank 1; start all ranks with the same flags."
      ])
  }

  @Test func aTieIsDecidedByTheLowestRank() throws {
    let found = try sentences([[(name: "seed", value: "1")], [(name: "seed", value: "2")]], .data)
    #expect(found[1] == "the seed is 1 on rank 0 but 2 on rank 1; give all ranks the same images with --data.")
  }

  @Test func settingsThatSomeRanksLack() throws {
    let found = try sentences([[(name: "a", value: "1")], [], [(name: "a", value: "1"), (name: "b", value: "2")]])
    #expect(
      found[0].hasPrefix(
        "--a is 1 on ranks 0 and 2 but not set on rank 1; --b is not set on ranks 0 and 1 but 2 on rank 2;"))
  }

  @Test func manyDifferencesAreCounted() throws {
    let tables = (0..<6).map { rank in (0..<5).map { (name: "x\($0)", value: "\(rank)") } }
    let found = try sentences(tables)[0]
    #expect(found.contains("--x0 is 0 on rank 0 but 1 on rank 1 but 2 on rank 2, and other values elsewhere"))
    #expect(found.contains("; and 2 more differ; start"))
  }

  @Test func separatorsInValuesDoNotConfuse() throws {
    let found = try sentences([[(name: "a", value: "x\ny\tz")], [(name: "a", value: "x")]])
    #expect(found[0].contains("--a is x y z on rank 0 but x on rank 1"))
  }

  @Test func ranksInWords() {
    #expect(RankList.text([3]) == "rank 3")
    #expect(RankList.text([0, 2]) == "ranks 0 and 2")
    #expect(RankList.text([0, 2, 3, 4]) == "ranks 0, 2, 3 and 4")
    #expect(RankList.text([0, 2, 3, 4, 9]) == "ranks 0, 2, 3 and 2 more")
  }
}
