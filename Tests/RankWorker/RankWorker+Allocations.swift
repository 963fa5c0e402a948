import AllocationCounter
import Collectives
import Glibc

extension RankWorker {
  /// Prints how many heap allocations the exchanges of a training step cause after warm-up.
  static func countAllocations(_ communicator: any Communicator) throws {
    let control = AllocationCounter.count { free(strdup(CommandLine.arguments[0])) }
    let reduction = TreeReduction(
      tree: ReductionTree(leafCount: 13), communicator: communicator, maximumElementCount: 64)
    let leaves = UnsafeMutablePointer<Double>.allocate(capacity: 13 * 64)
    leaves.initialize(repeating: 1, count: 13 * 64)
    let result = UnsafeMutablePointer<Double>.allocate(capacity: 64)
    result.initialize(repeating: 0, count: 64)
    for _ in 0..<20 { try reduction.allReduce(leaves, count: 64, into: result) }
    let reductions = try AllocationCounter.count {
      for count in [64, 1, 17] { try reduction.allReduce(leaves, count: count, into: result) }
    }
    // The same, without Open MPI's own allocations: a world of three that hears only itself.
    let echo = EchoCommunicator(worldSize: 3)
    let echoed = TreeReduction(
      tree: ReductionTree(leafCount: 6), communicator: echo, maximumElementCount: 64)
    try echoed.allReduce(leaves, count: 64, into: result)
    let echoes = try AllocationCounter.count {
      for count in [64, 1, 17] { try echoed.allReduce(leaves, count: count, into: result) }
    }
    let exchanges = try countExchangeAllocations(communicator)
    line(
      "control \(control), exchanges \(exchanges), reductions \(reductions), without MPI \(echoes)")
  }

  /// Counts what one of each exchange allocates, the library underneath included.
  private static func countExchangeAllocations(_ communicator: any Communicator) throws -> Int {
    let size = communicator.worldSize
    let counts = [Int](repeating: 64, count: size)
    let send = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * size, alignment: 16)
    let receive = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * size, alignment: 16)
    send.initializeMemory(as: UInt8.self, repeating: 0)
    let all = UnsafeRawBufferPointer(send)
    let own = UnsafeRawBufferPointer(rebasing: all[0..<64])
    func exchange() throws {
      try communicator.barrier()
      try communicator.broadcast(send, root: 0)
      try communicator.allGather(own, into: receive, counts: counts)
      try communicator.allToAll(all, sendCounts: counts, into: receive, receiveCounts: counts)
    }
    for _ in 0..<20 { try exchange() }
    return try AllocationCounter.count(exchange)
  }
}

/// Rank 0 of a world in which every rank sends the same; allocates nothing.
private final class EchoCommunicator: Communicator {
  let rank = 0
  let worldSize: Int

  init(worldSize: Int) { self.worldSize = worldSize }

  func barrier() {}
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {}

  func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count, counts: counts)
    for index in 0..<receive.count { receive[index] = send[index % send.count] }
  }

  func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) {}

  func abort(exitCode: Int32) -> Never { fatalError("the echo was aborted") }
}
