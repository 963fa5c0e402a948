/// Predicts the time of a training step on a cluster from the measured work of one image.
///
/// - **Compute**: every core takes whole images, so a step computes for ⌈B / cores⌉ images a core.
/// - **Gradient**: cut into buckets in backward order, the last layer first. One partial sum a host crosses the network: a
///   direct reduce-scatter, then an all-gather, 2·(h − 1)/h of a bucket's bytes each way, two latencies and 2·(h − 1) message
///   starts. A bucket goes when backward has finished its last element and the one before is done.
/// - **Batch norm** over the global batch: one exchange a layer and pass (38 for depth 22), which everybody waits for:
///   ⌈log₂ h⌉ latencies and (h − 1) partial sums of 2·C Doubles.
/// - Exchanges within a host count for nothing; nor does a slow rank, a busy network or the operating system. The prediction
///   is what a program without a mistake reaches on machines that behave.
public struct StepModel: Sendable {
  /// The time in which a core starts a message; of the order that Open MPI's TCP transport needs.
  public static let messageOverhead = 2e-6

  /// The network.
  public let network: NetworkCost
  /// The seconds that one core takes for one image, forward and backward.
  public let coreSecondsPerImage: Double
  /// Whether batch statistics are formed over the global batch.
  public let exchangesStatistics: Bool

  /// Makes a model.
  public init(_ network: NetworkCost, coreSecondsPerImage: Double, exchangesStatistics: Bool = true) {
    self.network = network
    self.coreSecondsPerImage = coreSecondsPerImage
    self.exchangesStatistics = exchangesStatistics
  }

  /// What the model says about one cluster.
  public struct Prediction: Hashable, Sendable {
    /// The cluster.
    public let cluster: ClusterDescription
    /// B.
    public let globalBatchSize: Int
    /// The seconds of computing.
    public let compute: Double
    /// The seconds of waiting for batch statistics.
    public let statistics: Double
    /// The seconds that the gradient's exchange takes on the network, hidden or not.
    public let exchange: Double
    /// The part of it that nothing hides.
    public let exposed: Double
    /// The best size of a bucket, in bytes.
    public let bucketByteCount: Int
    /// The memory of a rank in bytes, about.
    public let memoryByteCount: Int

    /// The seconds of a step.
    public var step: Double { compute + statistics + exposed }
    /// The speed of the job.
    public var imagesPerSecond: Double { Double(globalBatchSize) / step }
  }

  /// Predicts a step with the best bucket size.
  ///
  /// - Parameters:
  ///   - cluster: The hosts.
  ///   - globalBatchSize: B.
  /// - Returns: nil if there are more ranks than images.
  public func predict(_ cluster: ClusterDescription, globalBatchSize: Int) -> Prediction? {
    guard globalBatchSize >= cluster.rankCount else { return nil }
    let compute = Double(roundedUp(globalBatchSize, cluster.coreCount)) * coreSecondsPerImage
    let norms = cluster.hostCount > 1 && exchangesStatistics ? network.normalizedChannels : []
    let statistics = 2 * norms.reduce(0) { $0 + statisticsTime(channels: $1, cluster) }
    let backward = compute * 2 / 3 + statistics / 2
    var best: (exposed: Double, exchange: Double, size: Int)?
    for size in Self.bucketSizes(upTo: network.gradientByteCount) {
      let found = exchange(bucketByteCount: size, backward: backward, cluster)
      // Of equals the larger: fewer messages.
      if best.map({ found.exposed <= $0.exposed }) ?? true { best = (found.exposed, found.exchange, size) }
    }
    return Prediction(
      cluster: cluster, globalBatchSize: globalBatchSize, compute: compute, statistics: statistics,
      exchange: best?.exchange ?? 0, exposed: best?.exposed ?? 0, bucketByteCount: best?.size ?? 0,
      memoryByteCount: memory(cluster, globalBatchSize: globalBatchSize))
  }

  /// Predicts how well more hosts are used: the speed against that of one host times their number.
  ///
  /// - Parameters:
  ///   - prediction: What the model says about the hosts.
  ///   - globalBatchSize: B on the one host that they are compared with.
  /// - Returns: 0 … 1, up to what whole images a core leave on the table with one host.
  public func efficiency(_ prediction: Prediction, againstOneHostWith globalBatchSize: Int) -> Double {
    var alone = prediction.cluster
    alone.hostCount = 1
    guard let one = predict(alone, globalBatchSize: globalBatchSize) else { return 0 }
    return prediction.imagesPerSecond / (one.imagesPerSecond * Double(prediction.cluster.hostCount))
  }

  /// The sizes that are tried: powers of two from 64 KiB, and the whole gradient.
  static func bucketSizes(upTo byteCount: Int) -> [Int] {
    Array(sequence(first: 65_536) { $0 * 2 < byteCount ? $0 * 2 : nil }.filter { $0 < byteCount }) + [byteCount]
  }

  /// One exchange of batch statistics.
  private func statisticsTime(channels: Int, _ cluster: ClusterDescription) -> Double {
    let others = Double(cluster.hostCount - 1)
    let rounds = Double(Int.bitWidth - (cluster.hostCount - 1).leadingZeroBitCount)
    return rounds * (cluster.latency + Self.messageOverhead)
      + others * Double(2 * channels * MemoryLayout<Double>.size) / cluster.bytesPerSecond
  }

  /// Runs through a backward pass of `backward` seconds, bucket by bucket.
  private func exchange(
    bucketByteCount: Int, backward: Double, _ cluster: ClusterDescription
  ) -> (exposed: Double, exchange: Double) {
    guard cluster.hostCount > 1 else { return (0, 0) }
    let others = Double(cluster.hostCount - 1)
    let start = 2 * (cluster.latency + others * Self.messageOverhead)
    let perByte = 2 * others / Double(cluster.hostCount) / cluster.bytesPerSecond
    let secondsPerMultiplyAdd = backward / Double(max(network.multiplyAdds, 1))
    var (now, free, total) = (0.0, 0.0, 0.0)
    var filled = 0
    func send(_ byteCount: Int) {
      let time = start + Double(byteCount) * perByte
      free = max(free, now) + time
      total += time
    }
    for tensor in network.tensors {
      now += Double(tensor.multiplyAdds) * secondsPerMultiplyAdd
      filled += 4 * tensor.elementCount
      // A tensor of several buckets: each goes when the tensor is finished.
      while filled >= bucketByteCount {
        send(bucketByteCount)
        filled -= bucketByteCount
      }
    }
    if filled > 0 { send(filled) }
    return (max(0, free - backward), total)
  }

  /// Parameters, twelve times as much for partial gradients, kernels in the engine's form and workspaces (as `benchmark step`
  /// reports for k = 1 and 4), this rank's share of the moments, and activations.
  private func memory(_ cluster: ClusterDescription, globalBatchSize: Int) -> Int {
    let images = roundedUp(globalBatchSize, cluster.rankCount)
    return 13 * network.gradientByteCount + 2 * network.gradientByteCount / cluster.rankCount
      + images * network.activationByteCount
  }

  private func roundedUp(_ count: Int, _ divisor: Int) -> Int { (count + divisor - 1) / divisor }
}
