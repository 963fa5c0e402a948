import Collectives
import Foundation
import OpenMPI

extension RankWorker {
  /// Prints the rank, the local rank and the host.
  static func printRank(_ communicator: any Communicator) {
    guard let communicator = communicator as? MPICommunicator else { return line("single process") }
    line(
      "rank \(communicator.rank) of \(communicator.worldSize), local \(communicator.localRank) of \(communicator.localSize), "
        + "on \(communicator.processorName)")
  }

  /// Calls every collective with many lengths, including zero and unequal ones, and checks each byte.
  static func checkCollectives(_ communicator: any Communicator) throws {
    for length in [0, 1, 2, 3, 7, 64, 1_009, 65_537, 300_007] {
      try communicator.barrier()
      try checkBroadcast(communicator, length: length)
      try checkAllGather(communicator, length: length)
      try checkUniformAllGather(communicator, length: length)
      try checkAllToAll(communicator, length: length)
    }
    line("rank \(communicator.rank) of \(communicator.worldSize): all collectives are right")
  }

  private static func checkBroadcast(_ communicator: any Communicator, length: Int) throws {
    for root in 0..<communicator.worldSize {
      var bytes = (0..<length).map {
        communicator.rank == root ? value(from: root, to: 0, at: $0) : 0xee
      }
      try bytes.withUnsafeMutableBytes { try communicator.broadcast($0, root: root) }
      try expect(bytes, "broadcast") { value(from: root, to: 0, at: $0) }
    }
  }

  /// Rank r sends r times the length, so rank 0 sends nothing.
  private static func checkAllGather(_ communicator: any Communicator, length: Int) throws {
    let counts = (0..<communicator.worldSize).map { $0 * length }
    let send = (0..<counts[communicator.rank]).map { value(from: communicator.rank, to: 0, at: $0) }
    var receive = [UInt8](repeating: 0xee, count: counts.reduce(0, +))
    try send.withUnsafeBytes { send in
      try receive.withUnsafeMutableBytes {
        try communicator.allGather(send, into: $0, counts: counts)
      }
    }
    let expected = counts.indices.flatMap { sender in
      (0..<counts[sender]).map { value(from: sender, to: 0, at: $0) }
    }
    try expect(receive, "allGather") { expected[$0] }
  }

  /// Every rank sends equally many bytes.
  private static func checkUniformAllGather(_ communicator: any Communicator, length: Int) throws {
    let ranks = 0..<communicator.worldSize
    let received = try communicator.allGather((0..<length).map { value(from: communicator.rank, to: 0, at: $0) })
    let expected = ranks.flatMap { sender in (0..<length).map { value(from: sender, to: 0, at: $0) } }
    guard received.count == expected.count else {
      throw CommunicationError("allGather gathered \(received.count) bytes")
    }
    try expect(received, "uniform allGather") { expected[$0] }
    guard try communicator.allGather(communicator.rank) == Array(ranks) else {
      throw CommunicationError("allGather gathered wrong ranks")
    }
  }

  /// Rank r sends r + 2·s times the length to rank s.
  private static func checkAllToAll(_ communicator: any Communicator, length: Int) throws {
    let rank = communicator.rank
    let ranks = 0..<communicator.worldSize
    let sendCounts = ranks.map { (rank + 2 * $0) * length }
    let receiveCounts = ranks.map { ($0 + 2 * rank) * length }
    let send = ranks.flatMap { to in
      (0..<sendCounts[to]).map { value(from: rank, to: to, at: $0) }
    }
    var receive = [UInt8](repeating: 0xee, count: receiveCounts.reduce(0, +))
    try send.withUnsafeBytes { send in
      try receive.withUnsafeMutableBytes {
        try communicator.allToAll(
          send, sendCounts: sendCounts, into: $0, receiveCounts: receiveCounts)
      }
    }
    let expected = ranks.flatMap { from in
      (0..<receiveCounts[from]).map { value(from: from, to: rank, at: $0) }
    }
    try expect(receive, "allToAll") { expected[$0] }
  }

  /// Broadcasts one byte more than the maximum message size, so that a second message is needed.
  static func checkLargeBroadcast(_ communicator: any Communicator) throws {
    let count = (1 << 30) + 1
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    defer { bytes.deallocate() }
    let marks = [0, (1 << 30) - 1, 1 << 30]
    for mark in marks { bytes[mark] = communicator.rank == 0 ? UInt8(mark % 251 + 1) : 0 }
    try communicator.broadcast(bytes, root: 0)
    try expect(marks.map { bytes[$0] }, "large broadcast") { UInt8(marks[$0] % 251 + 1) }
    line("rank \(communicator.rank): large broadcast is right")
  }

  /// Calls an all-gather of more bytes than MPI can count; no memory is touched.
  static func gatherTooMuch(_ communicator: any Communicator) throws {
    let counts = [Int](repeating: 1 << 30, count: communicator.worldSize)
    let address = UnsafeMutableRawPointer(bitPattern: 64)
    try communicator.allGather(
      UnsafeRawBufferPointer(start: address, count: 1 << 30),
      into: UnsafeMutableRawBufferPointer(start: address, count: counts.reduce(0, +)),
      counts: counts)
  }

  /// The root sends eight bytes and the others expect four.
  static func broadcastUnequally(_ communicator: any Communicator) throws {
    var bytes = [UInt8](repeating: 0, count: communicator.rank == 0 ? 8 : 4)
    try bytes.withUnsafeMutableBytes { try communicator.broadcast($0, root: 0) }
    try communicator.barrier()
    line("rank \(communicator.rank) noticed nothing")
  }

  private static func value(from sender: Int, to receiver: Int, at index: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: sender &* 31 &+ receiver &* 101 &+ index &* 7 &+ index / 256)
  }

  private static func expect(
    _ bytes: [UInt8], _ collective: String, _ expected: (Int) -> UInt8
  ) throws {
    for index in bytes.indices where bytes[index] != expected(index) {
      throw CommunicationError(
        "\(collective) of \(bytes.count) bytes delivered \(bytes[index]) instead of "
          + "\(expected(index)) at \(index)")
    }
  }
}
