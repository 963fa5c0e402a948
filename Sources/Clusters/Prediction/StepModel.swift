import Support

/// Predicts the time of a training step on a cluster from the measured compute time per image.
///
/// - **Compute**: every core computes whole images, so a step computes ⌈B / cores⌉ images per core.
/// - **Gradient**: divided into buckets in backward order, the last layer first. One partial sum per host crosses the
///   network: a direct reduce-scatter, then an all-gather, 2·(h − 1)/h of a bucket's bytes each way, two latencies and
///   2·(h − 1) message starts. A bucket starts when the backward pass has computed its last element and the previous bucket
///   is complete.
/// - **Synchronized batch norm**: one all-reduce per layer and pass (38 for depth 22), for which every core waits:
///   ⌈log₂ h⌉ latencies and (h − 1) partial sums of 2·C Doubles. In the backward pass its messages queue after the gradient
///   bytes in the send buffers. The model omits that shortcuts hide three of them per pass.
/// - Communication within a host, slow ranks, other users of the network and the operating system count for nothing. But
///   all-gathers count as if a step waited for them at its end, while they overlap with the next forward pass. So a step
///   over a slow link is faster than predicted, by 7 to 18 % in `docs/results/plan-validation.md`.
public struct StepModel: Sendable {
  /// The time in which a core starts a message, in seconds; the order of magnitude of Open MPI's TCP transport.
  public static let messageOverhead = 2e-6

  /// The bytes of a connection's send buffer, as `launch/train` sets it; they are sent before later messages.
  public static let sendBufferByteCount = 131_072

  /// The cost of the neural network.
  public let model: ModelCost
  /// The seconds that one core computes per image, forward and backward.
  public let coreSecondsPerImage: Double
  /// Whether batch statistics are those of the global batch.
  public let synchronizesBatchNorm: Bool

  /// Creates a model of the training step.
  public init(_ model: ModelCost, coreSecondsPerImage: Double, synchronizesBatchNorm: Bool = true) {
    self.model = model
    self.coreSecondsPerImage = coreSecondsPerImage
    self.synchronizesBatchNorm = synchronizesBatchNorm
  }

  /// The prediction for one cluster.
  public struct Prediction: Hashable, Sendable {
    /// The cluster.
    public let cluster: Cluster
    /// B.
    public let globalBatchSize: Int
    /// The seconds of computation.
    public let compute: Double
    /// The seconds of waiting for batch statistics.
    public let statistics: Double
    /// The seconds of the gradient all-reduce, overlapped or not.
    public let allReduce: Double
    /// The seconds of the gradient all-reduce after the backward pass.
    public let exposed: Double
    /// The best bucket size in bytes.
    public let bucketByteCount: Int
    /// The approximate memory per rank in bytes.
    public let memoryByteCount: Int

    /// The seconds of a step.
    public var step: Double { compute + statistics + exposed }
    /// The training images per second of all ranks.
    public var imagesPerSecond: Double { Double(globalBatchSize) / step }
  }

  /// Predicts a step with the best bucket size.
  ///
  /// - Parameters:
  ///   - cluster: The hosts.
  ///   - globalBatchSize: B.
  /// - Returns: `nil` if there are more ranks than images.
  public func predict(_ cluster: Cluster, globalBatchSize: Int) -> Prediction? {
    guard globalBatchSize >= cluster.rankCount else { return nil }
    let compute = Double(globalBatchSize.dividedRoundingUp(by: cluster.coreCount)) * coreSecondsPerImage
    let forwardStatistics = model.tensors.reduce(0) { $0 + statisticsTime($1, cluster) }
    var best: (timeline: BackwardTimeline, size: Int)?
    for size in Self.bucketSizes(upTo: model.gradientByteCount) {
      let timeline = simulateBackward(bucketByteCount: size, compute: compute * 2 / 3, cluster)
      // Of equal times the larger size, which needs fewer messages.
      if best.map({ timeline.visible <= $0.timeline.visible }) ?? true { best = (timeline, size) }
    }
    return Prediction(
      cluster: cluster, globalBatchSize: globalBatchSize, compute: compute,
      statistics: forwardStatistics + (best?.timeline.statistics ?? 0), allReduce: best?.timeline.allReduce ?? 0,
      exposed: best?.timeline.exposed ?? 0, bucketByteCount: best?.size ?? 0,
      memoryByteCount: memory(cluster, globalBatchSize: globalBatchSize))
  }

  /// Returns the speed relative to one host's speed times the number of hosts.
  ///
  /// - Parameters:
  ///   - prediction: The prediction for several hosts.
  ///   - globalBatchSize: B on the single host.
  /// - Returns: 0 … 1, or more where whole images per core leave cores of the single host idle.
  public func efficiency(_ prediction: Prediction, againstOneHostWith globalBatchSize: Int) -> Double {
    var oneHost = prediction.cluster
    oneHost.hostCount = 1
    guard let single = predict(oneHost, globalBatchSize: globalBatchSize) else { return 0 }
    return prediction.imagesPerSecond / (single.imagesPerSecond * Double(prediction.cluster.hostCount))
  }

  /// The candidate sizes: powers of two from 64 KiB, and the whole gradient.
  static func bucketSizes(upTo byteCount: Int) -> [Int] {
    Array(sequence(first: 65_536) { $0 * 2 < byteCount ? $0 * 2 : nil }.filter { $0 < byteCount }) + [byteCount]
  }

  /// Returns the time of a batch norm's all-reduce over an idle network; 0 for tensors that are not a batch norm's scale.
  private func statisticsTime(_ tensor: ModelCost.Tensor, _ cluster: Cluster) -> Double {
    guard cluster.hostCount > 1, synchronizesBatchNorm, tensor.normalizedChannels > 0 else { return 0 }
    let others = Double(cluster.hostCount - 1)
    let rounds = Double(Int.bitWidth - (cluster.hostCount - 1).leadingZeroBitCount)
    return rounds * (cluster.latency + Self.messageOverhead)
      + others * Double(2 * tensor.normalizedChannels * MemoryLayout<Double>.size) / cluster.bytesPerSecond
  }

  /// The communication of a backward pass, in seconds.
  private struct BackwardTimeline {
    /// The waits for batch statistics.
    var statistics = 0.0
    /// The gradient all-reduce, overlapped or not.
    var allReduce = 0.0
    /// The part of it after the backward pass.
    var exposed = 0.0

    var visible: Double { statistics + exposed }
  }

  /// Simulates a backward pass of `compute` seconds, tensor by tensor and bucket by bucket.
  private func simulateBackward(
    bucketByteCount: Int, compute: Double, _ cluster: Cluster
  ) -> BackwardTimeline {
    guard cluster.hostCount > 1 else { return BackwardTimeline() }
    let others = Double(cluster.hostCount - 1)
    let start = 2 * (cluster.latency + others * Self.messageOverhead)
    let perByte = 2 * others / Double(cluster.hostCount) / cluster.bytesPerSecond
    let secondsPerMultiplyAdd = compute / Double(max(model.multiplyAdds, 1))
    // Send buffers of all connections; they share one link.
    let sendBuffer = others * Double(Self.sendBufferByteCount) / cluster.bytesPerSecond
    var timeline = BackwardTimeline()
    // The times when the link is idle, when it was without the gradient of the latest convolution's weight, and the current
    // time.
    var (free, freeBefore, now) = (0.0, 0.0, 0.0)
    var filled = 0
    func send(_ byteCount: Int) {
      let time = start + Double(byteCount) * perByte
      free = max(free, now) + time
      timeline.allReduce += time
    }
    for tensor in model.tensors {
      now += Double(tensor.multiplyAdds) * secondsPerMultiplyAdd
      let statistics = statisticsTime(tensor, cluster)
      if statistics > 0 {
        // Its all-reduce starts just before the gradient of the weight that reads the batch norm's output is sent.
        let wait = statistics + min(sendBuffer, max(0, freeBefore - now))
        now += wait
        timeline.statistics += wait
      }
      if tensor.multiplyAdds > 0 { freeBefore = free }
      filled += 4 * tensor.elementCount
      // All buckets of a large tensor start when it is complete.
      while filled >= bucketByteCount {
        send(bucketByteCount)
        filled -= bucketByteCount
      }
    }
    if filled > 0 { send(filled) }
    timeline.exposed = max(0, free - now)
    return timeline
  }

  /// Returns the sum of parameters, twelve times as much for partial gradients, packed weights and scratch memory (as
  /// `benchmark step` reports for k = 1 and 4), a shard of the optimizer state, and activations.
  private func memory(_ cluster: Cluster, globalBatchSize: Int) -> Int {
    let images = globalBatchSize.dividedRoundingUp(by: cluster.rankCount)
    return 13 * model.gradientByteCount + 2 * model.gradientByteCount / cluster.rankCount
      + images * model.activationByteCount
  }
}

/// The costs of a neural network that decide the time of a distributed step.
public struct ModelCost: Hashable, Sendable {
  /// A tensor of parameters and the work of its layer.
  public struct Tensor: Hashable, Sendable {
    /// Its elements.
    public let elementCount: Int
    /// The multiply-adds per image of its convolution's forward pass; 0 for other tensors.
    ///
    /// The backward pass has twice as many.
    public let multiplyAdds: Int
    /// The channels of the batch norm whose scale it is; 0 for all others.
    public let normalizedChannels: Int

    /// Creates the cost of a tensor.
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
  /// The tensors in the order in which the backward pass completes their gradients, the last layer's first.
  public let tensors: [Tensor]
  /// The bytes of activations per image that the backward pass needs.
  public let activationByteCount: Int

  /// Creates the cost of a neural network.
  public init(
    name: String, widenFactor: Int, tensors: [Tensor], activationByteCount: Int
  ) {
    self.name = name
    self.widenFactor = widenFactor
    self.tensors = tensors
    self.activationByteCount = activationByteCount
  }

  /// The number of parameters.
  public var parameterCount: Int { tensors.reduce(0) { $0 + $1.elementCount } }
  /// The multiply-adds per image of the forward pass.
  public var multiplyAdds: Int { tensors.reduce(0) { $0 + $1.multiplyAdds } }
  /// The bytes of one fp32 gradient.
  public var gradientByteCount: Int { 4 * parameterCount }
}

/// Equal hosts and the network between them.
public struct Cluster: Hashable, Sendable {
  /// h, the number of hosts.
  public var hostCount: Int
  /// The ranks per host.
  public var ranksPerHost: Int
  /// The physical cores per host.
  public var coresPerHost: Int
  /// W, the bytes per second that a host can send, and receive at the same time.
  public var bytesPerSecond: Double
  /// α, the seconds of an empty message between two hosts.
  public var latency: Double

  /// Creates a cluster.
  public init(
    hostCount: Int, ranksPerHost: Int, coresPerHost: Int, bytesPerSecond: Double, latency: Double
  ) {
    self.hostCount = hostCount
    self.ranksPerHost = ranksPerHost
    self.coresPerHost = coresPerHost
    self.bytesPerSecond = bytesPerSecond
    self.latency = latency
  }

  /// The ranks of all hosts.
  public var rankCount: Int { hostCount * ranksPerHost }
  /// The cores of all hosts.
  public var coreCount: Int { hostCount * coresPerHost }
}
