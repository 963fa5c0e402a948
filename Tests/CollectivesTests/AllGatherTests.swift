import Collectives
import TestSupport
import Testing

@Suite struct AllGatherTests {
  @Test(arguments: 1...5)
  func textsOfAnyLengthReachEveryRank(worldSize: Int) throws {
    let texts = (0..<worldSize).map { rank in String(repeating: "☃\(rank)", count: rank * 7 % 5) }
    let gathered = try ThreadCommunicator.run(worldSize: worldSize) { try $0.allGather(texts[$0.rank]) }
    for all in gathered { #expect(all == texts) }
  }
}
