import AllocationCounter
import Collectives
import Glibc

extension RankWorker {
  /// Prints the number of heap allocations of collectives and tree all-reduces after warm-up.
  static func countAllocations(_ communicator: any Communicator) throws {
    let control = AllocationCounter.count { free(strdup(String(CommandLine.argc))) }
    let reduction = TreeAllReduce(
      tree: ReductionTree(leafCount: 13), communicator: communicator, maximumElementCount: 64)
    let leaves = UnsafeMutablePointer<Double>.allocate(capacity: 13 * 64)
    leaves.initialize(repeating: 1, count: 13 * 64)
    let result = UnsafeMutablePointer<Double>.allocate(capacity: 64)
    result.initialize(repeating: 0, count: 64)
    for _ in 0..<20 { try reduction.allReduce(leaves, count: 64, into: result) }
    let reductions = try AllocationCounter.count {
      for count in [64, 1, 17] { try reduction.allReduce(leaves, count: count, into: result) }
    }
    let collectives = try countCollectiveAllocations(communicator)
    line(
      "control \(control), collectives \(collectives), reductions \(reductions)")
  }

  /// Counts the allocations of one call of each collective, including those of the MPI library.
  private static func countCollectiveAllocations(_ communicator: any Communicator) throws -> Int {
    let size = communicator.worldSize
    let counts = [Int](repeating: 64, count: size)
    let send = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * size, alignment: 16)
    let receive = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * size, alignment: 16)
    send.initializeMemory(as: UInt8.self, repeating: 0)
    let all = UnsafeRawBufferPointer(send)
    let own = UnsafeRawBufferPointer(rebasing: all[0..<64])
    var ranks = [Int](repeating: 0, count: size)
    func callAll() throws {
      try communicator.barrier()
      try communicator.broadcast(send, root: 0)
      try communicator.allGather(own, into: receive, counts: counts)
      try communicator.allGather(communicator.rank, into: &ranks)
      try communicator.allToAll(all, sendCounts: counts, into: receive, receiveCounts: counts)
    }
    for _ in 0..<20 { try callAll() }
    return try AllocationCounter.count(callAll)
  }
}
