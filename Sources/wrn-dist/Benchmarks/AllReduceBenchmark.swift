import Collectives
import DataParallel
import Models
import OpenMPI
import Support
import Tensors
import Training

/// Timings of a sum over all ranks: the gradient all-reduce in tree order and `MPI_Allreduce`, interleaved.
struct AllReduceBenchmark {
  /// The measurements.
  struct Times {
    let worldSize: Int
    let hostCount: Int
    let threads: Int
    let elementCount: Int
    let bucketCount: Int
    /// The bytes that one all-reduce in tree order sends, on the rank that sends most.
    let sentByteCount: Int
    /// The seconds of every all-reduce in tree order on rank 0, in ascending order.
    let treeOrder: [Double]
    /// The seconds of every `MPI_Allreduce` on rank 0, in ascending order.
    let mpi: [Double]
  }

  private static let warmUpCount = 3

  private let communicator: MPICommunicator
  private let pool: WorkerPool
  private let reducer: GradientReducer
  private let buffer: AlignedBuffer<Float>

  /// Allocates the buffers.
  init(elementCount: Int, bucketByteCount: Int, threadCount: Int, _ communicator: MPICommunicator) throws {
    self.communicator = communicator
    pool = try WorkerPool(workerCount: threadCount, progressing: communicator)
    buffer = AlignedBuffer(count: elementCount)
    reducer = GradientReducer(
      plan: BucketPlan(elementCount: elementCount, bucketByteCount: bucketByteCount),
      tree: ReductionTree(leafCount: communicator.worldSize), wire: .fp32, communicator: communicator,
      subtreeSums: [buffer.pointer],
      target: buffer.pointer)
  }

  /// An upper limit of the bytes that a benchmark allocates: the buffer, and other ranks' partial sums of the owned shards.
  static func byteCount(elementCount: Int) -> Int { 2 * 4 * elementCount }

  /// Times both kinds of all-reduce.
  ///
  /// Collective. Every all-reduce starts after a barrier.
  ///
  /// - Parameter repetitions: The timed all-reduces of each kind.
  /// - Returns: The times, on every rank.
  /// - Throws: `ConsistencyDigest.Mismatch` if the ranks have different sizes; `CommunicationError` if communication fails.
  func run(repetitions: Int) throws -> Times {
    try reducer.verifyEqualPlans()
    var (treeOrder, mpi): ([Double], [Double]) = ([], [])
    var sentByteCount = 0
    for number in 0..<repetitions + Self.warmUpCount {
      let sentBefore = communicator.statistics.sentByteCount
      let treeSeconds = try time { try reduceInTreeOrder() }
      sentByteCount = communicator.statistics.sentByteCount - sentBefore
      let mpiSeconds = try time { try communicator.allReduceSum(buffer.elements) }
      if number >= Self.warmUpCount {
        treeOrder.append(treeSeconds)
        mpi.append(mpiSeconds)
      }
    }
    let sent = try communicator.allGather(sentByteCount)
    return Times(
      worldSize: communicator.worldSize, hostCount: Set(communicator.hostOfRank).count, threads: pool.workerCount,
      elementCount: buffer.count, bucketCount: reducer.plan.buckets.count,
      sentByteCount: sent.max() ?? 0,
      treeOrder: treeOrder.sorted(), mpi: mpi.sorted())
  }

  /// Times one all-reduce of new values, from the end of a barrier.
  ///
  /// - Precondition: `allReduce` computes the sum; a benchmark of anything else would be worthless.
  private func time(_ allReduce: () throws -> Void) throws -> Double {
    for i in buffer.elements.indices { buffer.pointer[i] = Float((i &+ communicator.rank) & 1023) }
    try communicator.barrier()
    let start = ContinuousClock.now
    try allReduce()
    let seconds = (ContinuousClock.now - start).seconds
    // Sums of whole numbers are exact in any order.
    for i in stride(from: 0, to: buffer.count, by: max(1, buffer.count / 1000)) {
      let sum = (0..<communicator.worldSize).reduce(0) { $0 + ((i + $1) & 1023) }
      precondition(buffer.pointer[i] == Float(sum), "the sum of element \(i) is wrong")
    }
    return seconds
  }

  /// Reduces the buffer as a training step reduces gradients, without the update.
  private func reduceInTreeOrder() throws {
    reducer.beginBackward()
    try reducer.gradientReady(0..<buffer.count)
    while let bucket = try reducer.nextReducedBucket(waiting: true) {
      let work = WorkDivision(elements: reducer.ownedShard(bucket))
      pool.parallelFor(work.count, with: (reducer, bucket, work)) { context, i, _ in
        let (reducer, bucket, work) = context.pointee
        reducer.finishReduction(work[i], of: bucket)
      }
      try reducer.allGather(bucket)
    }
    try reducer.waitForAllGathers()
  }
}
