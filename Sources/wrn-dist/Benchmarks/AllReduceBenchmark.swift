import Collectives
import DataParallel
import Models
import OpenMPI
import Tensors

/// Sums of one buffer over all ranks: our exchange of gradients and Open MPI's all-reduce, alternately.
struct AllReduceBenchmark {
  /// What was measured.
  struct Times {
    let worldSize: Int
    let hostCount: Int
    let threads: Int
    let elementCount: Int
    let bucketCount: Int
    /// The bytes that left the rank which sent most, in one sum by our exchange.
    let sentByteCount: Int
    /// The seconds of every sum by our exchange on rank 0, the fastest first.
    let exchange: [Double]
    /// The seconds of every `MPI_Allreduce` on rank 0, the fastest first.
    let plain: [Double]
  }

  private static let warmUpCount = 3
  // As a training step cuts the sum of a bucket: small enough to stay in a cache.
  private static let pieceCount = 32 * BucketPlan.chunkLength

  private let world: MPICommunicator
  private let pool: WorkerPool
  private let exchange: GradientReducer
  private let buffer: AlignedBuffer<Float>

  /// Allocates the buffers.
  init(elementCount: Int, bucketByteCount: Int, threadCount: Int, _ world: MPICommunicator) throws {
    self.world = world
    pool = try WorkerPool(workerCount: threadCount, progressing: world)
    buffer = AlignedBuffer(count: elementCount)
    exchange = GradientReducer(
      plan: BucketPlan(elementCount: elementCount, bucketByteCount: bucketByteCount),
      tree: ReductionTree(leafCount: world.worldSize), wire: .fp32, communicator: world,
      segments: [buffer.pointer],
      target: buffer.pointer)
  }

  /// The bytes that a benchmark needs at most: the buffer, and other ranks' partial sums of the own slices.
  static func byteCount(elementCount: Int) -> Int { 2 * 4 * elementCount }

  /// Times sums of each kind.
  ///
  /// Every rank calls it.
  ///
  /// - Parameter repetitions: The sums of each kind that are timed.
  /// - Returns: The times, on every rank.
  /// - Throws: `ConsistencyDigest.Mismatch` if ranks were asked for different sizes; `CommunicationError` if an exchange fails.
  func run(repetitions: Int) throws -> Times {
    try exchange.requireEqualPlans()
    var (tree, plain): ([Double], [Double]) = ([], [])
    var sentByteCount = 0
    for number in 0..<repetitions + Self.warmUpCount {
      let sentBefore = world.statistics.sentByteCount
      let first = try time { try reduceInTreeOrder() }
      sentByteCount = world.statistics.sentByteCount - sentBefore
      let second = try time { try world.allReduceSum(buffer.elements) }
      if number >= Self.warmUpCount {
        tree.append(first)
        plain.append(second)
      }
    }
    let sent = try world.allGather(String(sentByteCount)).compactMap { Int($0) }
    return Times(
      worldSize: world.worldSize, hostCount: Set(world.hosts).count, threads: pool.workerCount,
      elementCount: buffer.count, bucketCount: exchange.plan.buckets.count,
      sentByteCount: sent.max() ?? 0,
      exchange: tree.sorted(), plain: plain.sorted())
  }

  /// Times one sum of fresh numbers, from when all ranks are ready.
  ///
  /// - Precondition: The sum is right: a benchmark of anything else would be worthless.
  private func time(_ add: () throws -> Void) throws -> Double {
    for i in buffer.elements.indices { buffer.pointer[i] = Float((i &+ world.rank) & 1023) }
    try world.barrier()
    let began = ContinuousClock.now
    try add()
    let seconds = (ContinuousClock.now - began).seconds
    // Whole numbers: exact in any order.
    for i in stride(from: 0, to: buffer.count, by: max(1, buffer.count / 1000)) {
      let sum = (0..<world.worldSize).reduce(0) { $0 + ((i + $1) & 1023) }
      precondition(buffer.pointer[i] == Float(sum), "the sum of element \(i) is wrong")
    }
    return seconds
  }

  /// What a training step does with gradients, without the update.
  private func reduceInTreeOrder() throws {
    exchange.begin()
    try exchange.gradientReady(0..<buffer.count)
    while let bucket = try exchange.nextReducedBucket(waiting: true) {
      let slice = exchange.ownedShard(bucket)
      pool.parallelFor(
        (slice.count + Self.pieceCount - 1) / Self.pieceCount, with: (exchange, bucket, slice)
      ) { context, i, _ in
        let (exchange, bucket, slice) = context
        let first = slice.lowerBound + i * Self.pieceCount
        exchange.sum(first..<min(first + Self.pieceCount, slice.upperBound), of: bucket)
      }
      try exchange.gather(bucket)
    }
    try exchange.finish()
  }
}
