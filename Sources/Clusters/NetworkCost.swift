/// What of a neural network decides how long a distributed step takes.
public struct NetworkCost: Hashable, Sendable {
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
public struct ClusterDescription: Hashable, Sendable {
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
