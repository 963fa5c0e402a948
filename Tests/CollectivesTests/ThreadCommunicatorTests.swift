import Collectives
import TestSupport
import Testing

@Suite struct ThreadCommunicatorTests {
  @Test(arguments: 1...8)
  func everyCollectiveMovesTheRightBytes(worldSize: Int) throws {
    let results = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      let rank = communicator.rank
      var right = true
      for root in 0..<worldSize {
        var bytes = [UInt8](repeating: UInt8(rank), count: 5)
        try bytes.withUnsafeMutableBytes { try communicator.broadcast($0, root: root) }
        right = right && bytes == [UInt8](repeating: UInt8(root), count: 5)
      }
      let counts = Array(0..<worldSize)
      var gathered = [UInt8](repeating: 99, count: counts.reduce(0, +))
      try [UInt8](repeating: UInt8(rank), count: rank).withUnsafeBytes { send in
        try gathered.withUnsafeMutableBytes { try communicator.allGather(send, into: $0, counts: counts) }
      }
      right = right && gathered == counts.flatMap { [UInt8](repeating: UInt8($0), count: $0) }

      let sendCounts = counts.map { rank + 2 * $0 }
      let receiveCounts = counts.map { $0 + 2 * rank }
      var received = [UInt8](repeating: 99, count: receiveCounts.reduce(0, +))
      let shards = counts.flatMap {
        [UInt8](repeating: UInt8(10 * rank + $0), count: sendCounts[$0])
      }
      try shards.withUnsafeBytes { send in
        try received.withUnsafeMutableBytes {
          try communicator.allToAll(
            send, sendCounts: sendCounts, into: $0, receiveCounts: receiveCounts)
        }
      }
      let expected = counts.flatMap {
        [UInt8](repeating: UInt8(10 * $0 + rank), count: receiveCounts[$0])
      }
      try communicator.barrier()
      return right && received == expected
    }
    #expect(results == [Bool](repeating: true, count: worldSize))
  }

  @Test func aFailingRankUnblocksTheOthers() {
    let error = #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 3) { communicator in
        if communicator.rank == 1 { throw CommunicationError("rank 1 gave up") }
        try communicator.barrier()
      }
    }
    #expect(error?.description == "rank 1 gave up")
  }

  @Test func aRankThatEndsEarlyThrows() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { communicator in
        if communicator.rank == 0 { try communicator.barrier() }
      }
    }
  }

  @Test func abortThrowsItsExitCode() {
    #expect(throws: ThreadAbort(rank: 2, exitCode: 76)) {
      try ThreadCommunicator.run(worldSize: 3) { communicator in
        if communicator.rank == 2 { communicator.abort(exitCode: 76) }
        try communicator.barrier()
      }
    }
  }

  @Test func mismatchedCountsThrow() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { communicator in
        var bytes = [UInt8](repeating: 0, count: 4 + communicator.rank)
        try bytes.withUnsafeMutableBytes { try communicator.broadcast($0, root: 0) }
      }
    }
  }
}
