/// Predicts the time of a training step on a cluster from the measured work of one image.
///
/// - **Compute**: every core takes whole images, so a step computes for ⌈B / cores⌉ images a core.
/// - **Gradient**: cut into buckets in backward order, the last layer first. One partial sum a host crosses the network: a
///   direct reduce-scatter, then an all-gather, 2·(h − 1)/h of a bucket's bytes each way, two latencies and 2·(h − 1) message
///   starts. A bucket goes when backward has finished its last element and the one before is done.
/// - **Batch norm** over the global batch: one exchange a layer and pass (38 for depth 22), which everybody waits for:
///   ⌈log₂ h⌉ latencies and (h − 1) partial sums of 2·C Doubles. On the way back its messages stand behind those of the
///   gradient that the system has taken already. What a shortcut hides of three exchanges each way is left out.
/// - Exchanges within a host count for nothing; nor does a slow rank, a busy network or the operating system. The prediction
///   is what a program without a mistake reaches on machines that behave.
public struct StepModel: Sendable {
  /// The time in which a core starts a message; of the order that Open MPI's TCP transport needs.
  public static let messageOverhead = 2e-6

  /// The bytes of a connection's send buffer, as `launch/train` sets it: what is in there goes first.
  public static let sendBufferByteCount = 131_072

  /// The network.
  public let network: ModelCost
  /// The seconds that one core takes for one image, forward and backward.
  public let coreSecondsPerImage: Double
  /// Whether batch statistics are formed over the global batch.
  public let exchangesStatistics: Bool

  /// Makes a model.
  public init(_ network: ModelCost, coreSecondsPerImage: Double, exchangesStatistics: Bool = true) {
    self.network = network
    self.coreSecondsPerImage = coreSecondsPerImage
    self.exchangesStatistics = exchangesStatistics
  }

  /// What the model says about one cluster.
  public struct Prediction: Hashable, Sendable {
    /// The cluster.
    public let cluster: Cluster
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
  public func predict(_ cluster: Cluster, globalBatchSize: Int) -> Prediction? {
    guard globalBatchSize >= cluster.rankCount else { return nil }
    let compute = Double(roundedUp(globalBatchSize, cluster.coreCount)) * coreSecondsPerImage
    let forwardStatistics = network.tensors.reduce(0) { $0 + statisticsTime($1, cluster) }
    var best: (way: BackwardTimeline, size: Int)?
    for size in Self.bucketSizes(upTo: network.gradientByteCount) {
      let way = simulateBackward(bucketByteCount: size, compute: compute * 2 / 3, cluster)
      // Of equals the larger: fewer messages.
      if best.map({ way.visible <= $0.way.visible }) ?? true { best = (way, size) }
    }
    return Prediction(
      cluster: cluster, globalBatchSize: globalBatchSize, compute: compute,
      statistics: forwardStatistics + (best?.way.statistics ?? 0), exchange: best?.way.exchange ?? 0,
      exposed: best?.way.exposed ?? 0, bucketByteCount: best?.size ?? 0,
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

  /// The exchange of a batch normalisation's statistics over an idle network; 0 for tensors that are not its scale.
  private func statisticsTime(_ tensor: ModelCost.Tensor, _ cluster: Cluster) -> Double {
    guard cluster.hostCount > 1, exchangesStatistics, tensor.normalizedChannels > 0 else { return 0 }
    let others = Double(cluster.hostCount - 1)
    let rounds = Double(Int.bitWidth - (cluster.hostCount - 1).leadingZeroBitCount)
    return rounds * (cluster.latency + Self.messageOverhead)
      + others * Double(2 * tensor.normalizedChannels * MemoryLayout<Double>.size) / cluster.bytesPerSecond
  }

  /// What the way back takes beside computing.
  private struct BackwardTimeline {
    /// The waits for batch statistics.
    var statistics = 0.0
    /// The gradient's exchange, hidden or not.
    var exchange = 0.0
    /// What of it is left when the way back has been computed.
    var exposed = 0.0

    var visible: Double { statistics + exposed }
  }

  /// Runs through a backward pass of `compute` seconds, tensor by tensor and bucket by bucket.
  private func simulateBackward(
    bucketByteCount: Int, compute: Double, _ cluster: Cluster
  ) -> BackwardTimeline {
    guard cluster.hostCount > 1 else { return BackwardTimeline() }
    let others = Double(cluster.hostCount - 1)
    let start = 2 * (cluster.latency + others * Self.messageOverhead)
    let perByte = 2 * others / Double(cluster.hostCount) / cluster.bytesPerSecond
    let secondsPerMultiplyAdd = compute / Double(max(network.multiplyAdds, 1))
    // Of the connections to all other hosts, which share the link.
    let sendBuffer = others * Double(Self.sendBufferByteCount) / cluster.bytesPerSecond
    var way = BackwardTimeline()
    // When the link has sent what it was given, the same without the latest kernel's gradient, and what time it is.
    var (free, freeBefore, now) = (0.0, 0.0, 0.0)
    var filled = 0
    func send(_ byteCount: Int) {
      let time = start + Double(byteCount) * perByte
      free = max(free, now) + time
      way.exchange += time
    }
    for tensor in network.tensors {
      now += Double(tensor.multiplyAdds) * secondsPerMultiplyAdd
      let statistics = statisticsTime(tensor, cluster)
      if statistics > 0 {
        // The exchange starts just before the gradient of the kernel that reads its output goes.
        let wait = statistics + min(sendBuffer, max(0, freeBefore - now))
        now += wait
        way.statistics += wait
      }
      if tensor.multiplyAdds > 0 { freeBefore = free }
      filled += 4 * tensor.elementCount
      // A tensor of several buckets: each goes when the tensor is finished.
      while filled >= bucketByteCount {
        send(bucketByteCount)
        filled -= bucketByteCount
      }
    }
    if filled > 0 { send(filled) }
    way.exposed = max(0, free - now)
    return way
  }

  /// Parameters, twelve times as much for partial gradients, kernels in the engine's form and workspaces (as `benchmark step`
  /// reports for k = 1 and 4), this rank's share of the moments, and activations.
  private func memory(_ cluster: Cluster, globalBatchSize: Int) -> Int {
    let images = roundedUp(globalBatchSize, cluster.rankCount)
    return 13 * network.gradientByteCount + 2 * network.gradientByteCount / cluster.rankCount
      + images * network.activationByteCount
  }

  private func roundedUp(_ count: Int, _ divisor: Int) -> Int { (count + divisor - 1) / divisor }
}

/// What of a neural network decides how long a distributed step takes.
public struct ModelCost: Hashable, Sendable {
  /// A tensor of parameters, with the work that its gradient needs.
  public struct Tensor: Hashable, Sendable {
    /// Its elements.
    public let elementCount: Int
    /// The multiply-adds of one image's forward product, 0 for all but kernels; backward takes twice as many.
    public let multiplyAdds: Int
    /// The channels of the batch normalisation that it is the scale of; 0 for all others.
    public let normalizedChannels: Int

    /// Describes a tensor.
    public init(elementCount: Int, multiplyAdds: Int, normalizedChannels: Int = 0) {
      self.elementCount = elementCount
      self.multiplyAdds = multiplyAdds
      self.normalizedChannels = normalizedChannels
    }
  }

  /// Its name, such as `WRN-22-4`.
  public let name: String
  /// k.
  public let widenFactor: Int
  /// The tensors in the order in which backward finishes their gradients, the last layer's first.
  public let tensors: [Tensor]
  /// The bytes of activations that one image needs until its backward pass.
  public let activationByteCount: Int

  /// Describes a network.
  public init(
    name: String, widenFactor: Int, tensors: [Tensor], activationByteCount: Int
  ) {
    self.name = name
    self.widenFactor = widenFactor
    self.tensors = tensors
    self.activationByteCount = activationByteCount
  }

  /// All parameters.
  public var parameterCount: Int { tensors.reduce(0) { $0 + $1.elementCount } }
  /// The multiply-adds of one image's forward pass.
  public var multiplyAdds: Int { tensors.reduce(0) { $0 + $1.multiplyAdds } }
  /// The bytes of one gradient, fp32.
  public var gradientByteCount: Int { 4 * parameterCount }
}

/// Equal hosts and the network between them.
public struct Cluster: Hashable, Sendable {
  /// h, the hosts.
  public var hostCount: Int
  /// The ranks of a host.
  public var ranksPerHost: Int
  /// The whole cores of a host.
  public var coresPerHost: Int
  /// W, what a host can send, and receive at the same time.
  public var bytesPerSecond: Double
  /// α, the time that an empty message takes from host to host.
  public var latency: Double

  /// Describes a cluster.
  public init(
    hostCount: Int, ranksPerHost: Int, coresPerHost: Int, bytesPerSecond: Double, latency: Double
  ) {
    self.hostCount = hostCount
    self.ranksPerHost = ranksPerHost
    self.coresPerHost = coresPerHost
    self.bytesPerSecond = bytesPerSecond
    self.latency = latency
  }

  /// The ranks of the job.
  public var rankCount: Int { hostCount * ranksPerHost }
  /// The cores of all hosts.
  public var coreCount: Int { hostCount * coresPerHost }
}
