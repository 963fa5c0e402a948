import Collectives
import Foundation

extension RankWorker {
  /// Sends messages of many lengths between all ranks in several request sets at once, polls for progress as a computing
  /// rank does, and checks each byte.
  static func checkMessages(_ communicator: any Communicator) throws {
    let rank = communicator.rank
    let others = (0..<communicator.worldSize).filter { $0 != rank }
    let lengths = [1, 7, 4_096, 65_537, 3_000_001]
    let requestSets = lengths.map { _ in communicator.makeRequestSet(capacity: 2 * others.count) }
    for round in 0..<3 {
      let sent = lengths.map { count in
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        for index in 0..<count { bytes[index] = value(rank, round, at: index) }
        return bytes
      }
      let buffers = lengths.map { count in
        others.map { _ in
          UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
        }
      }
      defer { for buffer in buffers.joined() + sent { buffer.deallocate() } }
      for (i, requests) in requestSets.enumerated() {
        for (other, buffer) in zip(others, buffers[i]) {
          try requests.receive(into: buffer, from: other, tag: i, priority: .immediate)
        }
        for other in others {
          try requests.send(UnsafeRawBufferPointer(sent[i]), to: other, tag: i, priority: .immediate)
        }
      }
      for _ in 0..<50 { communicator.progress() }
      for requests in requestSets.reversed() { try communicator.wait(for: requests) }
      for (i, count) in lengths.enumerated() {
        for (other, buffer) in zip(others, buffers[i]) {
          for index in 0..<count where buffer[index] != value(other, round, at: index) {
            throw CommunicationError("message of \(count) bytes from \(other) is wrong at \(index)")
          }
        }
      }
    }
    let expected = 3 * lengths.reduce(0, +) * others.count
    guard communicator.statistics.sentByteCount == expected else {
      throw CommunicationError("\(communicator.statistics.sentByteCount) bytes were counted")
    }
    line("rank \(rank): all messages are right")
  }

  static func value(_ sender: Int, _ round: Int, at index: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: sender &* 31 &+ round &* 101 &+ index &* 7 &+ index / 256)
  }

  /// Sends a message that MPI or this program refuses: too long to count, with too large a tag, or of another length than
  /// rank 1 expects.
  ///
  /// If `isPolled`, the rank polls until the message must have arrived, before it waits.
  static func sendBadMessage(_ communicator: any Communicator, how: String, isPolled: Bool) throws {
    var bytes: [UInt8] = Array(repeating: 7, count: 64)
    let requests = communicator.makeRequestSet(capacity: 2)
    try bytes.withUnsafeMutableBytes { bytes in
      let other = 1 - communicator.rank
      let isSender = communicator.rank == 0
      switch how {
      case "count":
        // The bytes beyond the 64 are never read.
        try requests.send(
          UnsafeRawBufferPointer(start: bytes.baseAddress, count: 1 << 31), to: other, tag: 1, priority: .immediate)
      case "tag": try requests.send(UnsafeRawBufferPointer(bytes), to: other, tag: 1 << 40, priority: .immediate)
      case "short", "long":
        let expected = how == "short" ? 64 : 8
        if isSender {
          try requests.send(
            UnsafeRawBufferPointer(rebasing: bytes[..<(72 - expected)]), to: other, tag: 5, priority: .immediate)
        } else {
          try requests.receive(
            into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<expected]), from: other, tag: 5, priority: .immediate
          )
        }
        let end = ContinuousClock.now + .milliseconds(isPolled ? 500 : 0)
        while ContinuousClock.now < end { communicator.progress() }
        try communicator.wait(for: requests)
      default: throw CommunicationError("unknown fault \(how)")
      }
    }
    try communicator.barrier()
    line("rank \(communicator.rank) noticed nothing")
  }
}
