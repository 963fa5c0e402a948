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

  @Test(arguments: 1...5)
  func valuesReachEveryRank(worldSize: Int) throws {
    let gathered = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      var bytes = [UInt8](repeating: 255, count: worldSize)
      try communicator.allGather(UInt8(communicator.rank), into: &bytes)
      return (try communicator.allGather(-1.5 * Double(communicator.rank)), bytes)
    }
    for (numbers, bytes) in gathered {
      #expect(numbers == (0..<worldSize).map { -1.5 * Double($0) })
      #expect(bytes == (0..<worldSize).map { UInt8($0) })
    }
  }

  @Test(arguments: 1...5, [0, 1, 3])
  func arraysAreConcatenatedInRankOrder(worldSize: Int, count: Int) throws {
    let gathered = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      try communicator.allGather((0..<count).map { 10 * communicator.rank + $0 })
    }
    let expected = (0..<worldSize).flatMap { rank in (0..<count).map { 10 * rank + $0 } }
    for all in gathered { #expect(all == expected) }
  }

  @Test func arraysOfUnequalLengthThrow() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { communicator in
        try communicator.allGather([Int](repeating: 0, count: 1 + communicator.rank))
      }
    }
  }

  @Test func anArrayOfTheWrongLengthTraps() async {
    await #expect(processExitsWith: .failure) {
      var values = [0, 0]
      try SingleProcessCommunicator().allGather(1, into: &values)
    }
  }
}
