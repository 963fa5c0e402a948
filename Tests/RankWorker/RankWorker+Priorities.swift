import Collectives
import Foundation

extension RankWorker {
  /// Queues large sends of both priorities in an order that differs from rank to rank, and checks each byte, and that
  /// partial sums overtake results.
  ///
  /// If a queued send waited for another one, the ranks would block each other.
  static func checkPriorities(_ communicator: any Communicator) throws {
    let rank = communicator.rank
    let others = (0..<communicator.worldSize).filter { $0 != rank }
    // Results first: 32 MiB of them are queued when the partial sums come.
    let messages: [(count: Int, priority: SendPriority)] =
      Array(repeating: (8 << 20, .result), count: 4) + [
        (300_001, .partialSum), (SendPriority.pieceByteCount, .partialSum), (1, .partialSum),
      ]
    let sets = messages.map { message in
      communicator.makeRequestSet(capacity: 2 * others.count * SendPriority.pieceCount(message.count))
    }
    func bytes(_ count: Int) -> UnsafeMutableRawBufferPointer { .allocate(byteCount: count, alignment: 64) }
    for round in 0..<2 {
      let sent = messages.map { bytes($0.count) }
      let received = messages.map { message in others.map { _ in bytes(message.count) } }
      defer { for buffer in received.joined() + sent { buffer.deallocate() } }
      for (i, buffer) in sent.enumerated() {
        for index in buffer.indices { buffer[index] = value(rank, round + i, at: index) }
        for (other, buffer) in zip(others, received[i]) {
          try sets[i].receive(into: buffer, from: other, tag: i, priority: messages[i].priority)
        }
      }
      // Afterwards every receive has started, as in a reduction.
      try communicator.barrier()
      let results = Array(0..<4)
      for i in (rank % 2 == 0 ? results : results.reversed()) + [4, 5, 6] {
        for other in others {
          try sets[i].send(UnsafeRawBufferPointer(sent[i]), to: other, tag: i, priority: messages[i].priority)
        }
      }
      for i in [6, 5, 4] { try communicator.wait(for: sets[i]) }
      let missing = try results.filter { try !sets[$0].test() }
      if communicator.hostOfRank.contains(where: { $0 != communicator.hostOfRank[rank] }) && missing.isEmpty {
        throw CommunicationError("rank \(rank): the partial sums arrived after all results")
      }
      for i in results { try communicator.wait(for: sets[i]) }
      for (i, message) in messages.enumerated() {
        for (other, buffer) in zip(others, received[i]) {
          for index in 0..<message.count where buffer[index] != value(other, round + i, at: index) {
            throw CommunicationError("message \(i) from \(other) is wrong at \(index)")
          }
        }
      }
    }
    line("rank \(rank): all messages are right")
  }
}
