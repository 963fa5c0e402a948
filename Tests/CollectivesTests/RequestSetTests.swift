import Collectives
import TestSupport
import Testing

/// Request sets of the thread communicator; `RankJobTests` tests those of MPI.
@Suite struct RequestSetTests {
  @Test(arguments: 2...5)
  func messagesMatchTheirTagsInOrder(worldSize: Int) throws {
    let results = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
      let requests = communicator.makeRequestSet(capacity: 6 * (worldSize - 1))
      var received = [Int](repeating: -1, count: 3 * worldSize)
      try received.withUnsafeMutableBufferPointer { received in
        guard let start = received.baseAddress else { return }
        for other in 0..<worldSize where other != communicator.rank {
          // Tag 7 twice and tag 8 once, in another order than sent.
          try requests.receive(into: start + 3 * other + 2, count: 1, from: other, tag: 8)
          try requests.receive(into: start + 3 * other, count: 1, from: other, tag: 7)
          try requests.receive(into: start + 3 * other + 1, count: 1, from: other, tag: 7)
        }
        let sent = [0, 1, 2].map { 100 * communicator.rank + $0 }
        for other in 0..<worldSize where other != communicator.rank {
          try sent.withUnsafeBufferPointer { sent in
            guard let start = sent.baseAddress else { return }
            try requests.send(start, count: 1, to: other, tag: 7)
            try requests.send(start + 1, count: 1, to: other, tag: 7)
            try requests.send(start + 2, count: 1, to: other, tag: 8)
          }
        }
        try communicator.wait(for: requests)
      }
      let others = (0..<worldSize).filter { $0 != communicator.rank }
      return others.allSatisfy { other in
        (0..<3).allSatisfy { received[3 * other + $0] == 100 * other + $0 }
      } && communicator.statistics.sentByteCount == 24 * (worldSize - 1)
    }
    #expect(results == [Bool](repeating: true, count: worldSize))
  }

  @Test func aMessageOfTheWrongLengthThrows() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { communicator in
        let requests = communicator.makeRequestSet(capacity: 1)
        var bytes = [UInt8](repeating: 0, count: 4 + communicator.rank)
        try bytes.withUnsafeMutableBytes {
          if communicator.rank == 0 {
            try requests.send(UnsafeRawBufferPointer($0), to: 1, tag: 0, priority: .immediate)
          } else {
            try requests.receive(into: $0, from: 0, tag: 0, priority: .immediate)
          }
          try communicator.wait(for: requests)
        }
      }
    }
  }

  @Test func aSenderThatHasEndedThrows() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { communicator in
        guard communicator.rank == 0 else { return }
        let requests = communicator.makeRequestSet(capacity: 1)
        var byte: UInt8 = 0
        try withUnsafeMutableBytes(of: &byte) {
          try requests.receive(into: $0, from: 1, tag: 0, priority: .immediate)
          try communicator.wait(for: requests)
        }
      }
    }
  }

  @Test func bytesToOtherHostsAreCounted() throws {
    let counts = try ThreadCommunicator.run(worldSize: 3, hostOfRank: [0, 0, 1]) { communicator in
      let requests = communicator.makeRequestSet(capacity: 4)
      for other in 0..<3 where other != communicator.rank {
        try [1.0].withUnsafeBytes { try requests.send($0, to: other, tag: 0, priority: .immediate) }
      }
      return communicator.statistics.sentToOtherHostsByteCount
    }
    #expect(counts == [8, 8, 16])
  }

  @Test func moreRequestsThanTheCapacityTrap() async {
    await #expect(processExitsWith: .failure) {
      _ = try ThreadCommunicator.run(worldSize: 2) { communicator in
        let requests = communicator.makeRequestSet(capacity: 1)
        for _ in 0..<2 {
          try [0.0].withUnsafeBytes { try requests.send($0, to: 1 - communicator.rank, tag: 0, priority: .immediate) }
        }
      }
    }
  }
}
