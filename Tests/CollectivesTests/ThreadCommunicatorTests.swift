import Collectives
import TestSupport
import Testing

@Suite struct ThreadCommunicatorTests {
  @Test(arguments: 1...8)
  func everyExchangeMovesTheRightBytes(worldSize: Int) throws {
    let results = try ThreadCommunicator.run(worldSize: worldSize) { world in
      let rank = world.rank
      var right = true
      for root in 0..<worldSize {
        var bytes = [UInt8](repeating: UInt8(rank), count: 5)
        try bytes.withUnsafeMutableBytes { try world.broadcast($0, root: root) }
        right = right && bytes == [UInt8](repeating: UInt8(root), count: 5)
      }
      let counts = Array(0..<worldSize)
      var gathered = [UInt8](repeating: 99, count: counts.reduce(0, +))
      try [UInt8](repeating: UInt8(rank), count: rank).withUnsafeBytes { send in
        try gathered.withUnsafeMutableBytes { try world.allGather(send, into: $0, counts: counts) }
      }
      right = right && gathered == counts.flatMap { [UInt8](repeating: UInt8($0), count: $0) }

      let sendCounts = counts.map { rank + 2 * $0 }
      let receiveCounts = counts.map { $0 + 2 * rank }
      var received = [UInt8](repeating: 99, count: receiveCounts.reduce(0, +))
      let pieces = counts.flatMap {
        [UInt8](repeating: UInt8(10 * rank + $0), count: sendCounts[$0])
      }
      try pieces.withUnsafeBytes { send in
        try received.withUnsafeMutableBytes {
          try world.allToAll(
            send, sendCounts: sendCounts, into: $0, receiveCounts: receiveCounts)
        }
      }
      let wanted = counts.flatMap {
        [UInt8](repeating: UInt8(10 * $0 + rank), count: receiveCounts[$0])
      }
      try world.barrier()
      return right && received == wanted
    }
    #expect(results == [Bool](repeating: true, count: worldSize))
  }

  @Test func aFailingRankReleasesTheOthers() {
    let error = #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 3) { world in
        if world.rank == 1 { throw CommunicationError("rank 1 gave up") }
        try world.barrier()
      }
    }
    #expect(error?.description == "rank 1 gave up")
  }

  @Test func aRankThatLeavesEarlyIsNoticed() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { world in
        if world.rank == 0 { try world.barrier() }
      }
    }
  }

  @Test func abortIsReportedWithItsCode() {
    #expect(throws: ThreadAbort(rank: 2, exitCode: 76)) {
      try ThreadCommunicator.run(worldSize: 3) { world in
        if world.rank == 2 { world.abort(exitCode: 76) }
        try world.barrier()
      }
    }
  }

  @Test func countsThatDisagreeAreNoticed() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { world in
        var bytes = [UInt8](repeating: 0, count: 4 + world.rank)
        try bytes.withUnsafeMutableBytes { try world.broadcast($0, root: 0) }
      }
    }
  }
}
