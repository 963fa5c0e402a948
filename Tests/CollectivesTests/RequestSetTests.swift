import Collectives
import TestSupport
import Testing

/// Messages of a group, as the thread communicator moves them; real ones are in `RankJobTests`.
@Suite struct RequestSetTests {
  @Test(arguments: 2...5)
  func everyMessageArrivesUnderItsTagAndInOrder(worldSize: Int) throws {
    let results = try ThreadCommunicator.run(worldSize: worldSize) { world in
      let group = world.makeRequestSet(capacity: 6 * (worldSize - 1))
      var received = [Int](repeating: -1, count: 3 * worldSize)
      try received.withUnsafeMutableBufferPointer { received in
        guard let start = received.baseAddress else { return }
        for other in 0..<worldSize where other != world.rank {
          // Tag 7 twice and tag 8 once, received in another order than sent.
          try group.receive(into: start + 3 * other + 2, count: 1, from: other, tag: 8)
          try group.receive(into: start + 3 * other, count: 1, from: other, tag: 7)
          try group.receive(into: start + 3 * other + 1, count: 1, from: other, tag: 7)
        }
        let sent = [0, 1, 2].map { 100 * world.rank + $0 }
        for other in 0..<worldSize where other != world.rank {
          try sent.withUnsafeBufferPointer { sent in
            guard let start = sent.baseAddress else { return }
            try group.send(start, count: 1, to: other, tag: 7)
            try group.send(start + 1, count: 1, to: other, tag: 7)
            try group.send(start + 2, count: 1, to: other, tag: 8)
          }
        }
        try world.wait(for: group)
      }
      let others = (0..<worldSize).filter { $0 != world.rank }
      return others.allSatisfy { other in
        (0..<3).allSatisfy { received[3 * other + $0] == 100 * other + $0 }
      } && world.statistics.sentByteCount == 24 * (worldSize - 1)
    }
    #expect(results == [Bool](repeating: true, count: worldSize))
  }

  @Test func aMessageOfAnotherLengthIsNoticed() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { world in
        let group = world.makeRequestSet(capacity: 1)
        var bytes = [UInt8](repeating: 0, count: 4 + world.rank)
        try bytes.withUnsafeMutableBytes {
          if world.rank == 0 {
            try group.send(UnsafeRawBufferPointer($0), to: 1, tag: 0)
          } else {
            try group.receive(into: $0, from: 0, tag: 0)
          }
          try world.wait(for: group)
        }
      }
    }
  }

  @Test func aSenderThatLeftIsNoticed() {
    #expect(throws: CommunicationError.self) {
      try ThreadCommunicator.run(worldSize: 2) { world in
        guard world.rank == 0 else { return }
        let group = world.makeRequestSet(capacity: 1)
        var byte: UInt8 = 0
        try withUnsafeMutableBytes(of: &byte) {
          try group.receive(into: $0, from: 1, tag: 0)
          try world.wait(for: group)
        }
      }
    }
  }

  @Test func bytesToOtherHostsAreCounted() throws {
    let counts = try ThreadCommunicator.run(worldSize: 3, hosts: [0, 0, 1]) { world in
      let group = world.makeRequestSet(capacity: 4)
      for other in 0..<3 where other != world.rank {
        try [1.0].withUnsafeBytes { try group.send($0, to: other, tag: 0) }
      }
      return world.statistics.sentToOtherHostsByteCount
    }
    #expect(counts == [8, 8, 16])
  }

  @Test func moreMessagesThanPlannedTrap() async {
    await #expect(processExitsWith: .failure) {
      _ = try ThreadCommunicator.run(worldSize: 2) { world in
        let group = world.makeRequestSet(capacity: 1)
        for _ in 0..<2 { try [0.0].withUnsafeBytes { try group.send($0, to: 1 - world.rank, tag: 0) } }
      }
    }
  }
}
