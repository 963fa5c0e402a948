import Clusters
import Testing

@Suite struct StepModelTests {
  /// Three equal thirds of work; the last layers hold most of the parameters, as in a Wide ResNet.
  private static let cost = ModelCost(
    name: "test", widenFactor: 4,
    tensors: [(3_000_000, 256), (800_000, 128), (200_000, 64)].flatMap {
      [
        ModelCost.Tensor(elementCount: $0, multiplyAdds: 100),
        ModelCost.Tensor(elementCount: $1, multiplyAdds: 0, normalizedChannels: $1),
      ]
    }, activationByteCount: 1_000_000)
  private let model = StepModel(cost, coreSecondsPerImage: 0.01)

  private func cluster(
    _ hosts: Int, ranks: Int = 1, cores: Int = 4, bytesPerSecond: Double = 1.25e9, latency: Double = 20e-6
  ) -> Cluster {
    Cluster(
      hostCount: hosts, ranksPerHost: ranks, coresPerHost: cores, bytesPerSecond: bytesPerSecond, latency: latency)
  }

  @Test func oneHostOnlyComputes() throws {
    for ranks in [1, 2, 4] {
      let found = try #require(
        model.predict(cluster(1, ranks: ranks, bytesPerSecond: 1, latency: 1), globalBatchSize: 64))
      #expect(found.step == 0.16 && found.statistics == 0 && found.exposed == 0)
      #expect(model.efficiency(found, againstOneHostWith: 64) == 1)
    }
  }

  @Test func aPerfectNetworkOnlyCostsMessageStarts() throws {
    for hosts in [2, 8, 16] {
      let found = try #require(
        model.predict(cluster(hosts, bytesPerSecond: 1e300, latency: 0), globalBatchSize: 64 * hosts))
      #expect(found.compute == 0.16)
      // Six all-reduces of statistics; at least one bucket starts after the backward pass.
      let rounds = Double(Int.bitWidth - (hosts - 1).leadingZeroBitCount)
      #expect(abs(found.statistics - 6 * rounds * StepModel.messageOverhead) < 1e-12)
      #expect(found.exposed <= 2.0001 * Double(hosts - 1) * StepModel.messageOverhead)
    }
  }

  @Test func moreBandwidthIsNeverSlower() throws {
    for hosts in [2, 3, 16, 256] {
      var last = Double.infinity
      for exponent in 5...12 {
        let found = try #require(
          model.predict(cluster(hosts, bytesPerSecond: pow10(exponent)), globalBatchSize: 64 * hosts))
        #expect(found.step <= last, "\(hosts) hosts, 1e\(exponent)")
        last = found.step
      }
    }
  }

  @Test func lessLatencyIsNeverSlower() throws {
    let times = try [0, 1e-6, 1e-5, 1e-4, 1e-3].map { latency in
      try #require(model.predict(cluster(16, latency: latency), globalBatchSize: 1024)).step
    }
    #expect(times == times.sorted())
  }

  /// No prediction is faster than the cores, or than 2·(h − 1)/h of the gradient through the network.
  @Test func nothingIsFasterThanItsBounds() throws {
    for hosts in [1, 2, 3, 5, 64, 1024] {
      for exponent in 6...11 {
        for batch in [hosts, 64 * hosts] {
          let found = try #require(
            model.predict(cluster(hosts, bytesPerSecond: pow10(exponent)), globalBatchSize: batch))
          let share = 2 * Double(hosts - 1) / Double(hosts)
          let wire = share * Double(Self.cost.gradientByteCount) / pow10(exponent)
          #expect(found.step >= found.compute && found.step >= wire && found.allReduce >= wire)
          #expect(found.compute >= Double(batch) * 0.01 / Double(4 * hosts) * 0.999_999)
          #expect(model.efficiency(found, againstOneHostWith: batch / hosts) <= 1.000_001)
        }
      }
    }
  }

  @Test func aSlowNetworkIsBoundByBandwidth() throws {
    let found = try #require(model.predict(cluster(2, bytesPerSecond: 1e6), globalBatchSize: 128))
    let wire = Double(Self.cost.gradientByteCount) / 1e6
    // At most the backward pass overlaps, and its waits for statistics gain nothing.
    #expect(found.exposed <= wire + 0.001)
    #expect(found.exposed + found.statistics >= wire - found.compute * 2 / 3)
  }

  @Test func statisticsQueueAfterTheGradient() throws {
    let slow = cluster(2, bytesPerSecond: 1e7)
    let found = try #require(model.predict(slow, globalBatchSize: 128))
    let ghost = StepModel(Self.cost, coreSecondsPerImage: 0.01, synchronizesBatchNorm: false)
    let without = try #require(ghost.predict(slow, globalBatchSize: 128))
    // Over an idle link each of the six all-reduces takes 0.3 ms. In the backward pass the first precedes any gradient, and
    // the other two find a full send buffer.
    let buffer = Double(StepModel.sendBufferByteCount) / 1e7
    #expect(found.statistics > 2 * buffer && found.statistics < 3 * buffer + 0.003)
    // The gradient is sent during these waits, so nothing else is lost.
    #expect(found.step <= without.step + found.statistics && found.step >= without.step)
  }

  @Test func overlappedCommunicationIsNotExposed() throws {
    // The all-reduce takes a tenth of the backward pass: only the last bucket is exposed, at most 5 % of the bytes.
    let found = try #require(model.predict(cluster(2, bytesPerSecond: 1.5e9, latency: 1e-6), globalBatchSize: 128))
    #expect(found.allReduce > 0.01)
    #expect(found.exposed < 0.06 * found.allReduce)
    #expect(found.bucketByteCount < Self.cost.gradientByteCount)
  }

  @Test func latencyMakesBucketsLarger() throws {
    let near = try #require(model.predict(cluster(4, bytesPerSecond: 1.5e9, latency: 1e-6), globalBatchSize: 256))
    let far = try #require(model.predict(cluster(4, bytesPerSecond: 1.5e9, latency: 1e-2), globalBatchSize: 256))
    #expect(near.bucketByteCount < far.bucketByteCount)
  }

  @Test func ghostBatchNormNeedsNoCommunication() throws {
    let ghost = StepModel(Self.cost, coreSecondsPerImage: 0.01, synchronizesBatchNorm: false)
    #expect(try #require(ghost.predict(cluster(8), globalBatchSize: 512)).statistics == 0)
    #expect(try #require(model.predict(cluster(8), globalBatchSize: 512)).statistics > 0)
  }

  @Test func moreRanksThanImagesAreRefused() {
    #expect(model.predict(cluster(8, ranks: 4), globalBatchSize: 31) == nil)
    #expect(model.predict(cluster(8, ranks: 4), globalBatchSize: 32) != nil)
  }

  @Test func optimizerStateIsSharded() throws {
    let one = try #require(model.predict(cluster(1), globalBatchSize: 64))
    let eight = try #require(model.predict(cluster(8), globalBatchSize: 512))
    #expect(one.memoryByteCount - eight.memoryByteCount == 2 * Self.cost.gradientByteCount * 7 / 8)
  }

  private func pow10(_ exponent: Int) -> Double { (0..<exponent).reduce(1) { value, _ in value * 10 } }
}

@Suite struct QuantityTests {
  @Test(arguments: [
    ("10Gb", 1.25e9), ("10Gbit", 1.25e9), ("10Gb/s", 1.25e9), ("400mbit", 5e7), ("1.25GB", 1.25e9), ("8kb", 1e3),
    ("100Gbps", 1.25e10), ("8b", 1), ("3 MB/s", 3e6),
  ])
  func rates(text: String, expected: Double) { #expect(Quantity.bytesPerSecond(text) == expected) }

  @Test(arguments: ["", "10", "Gb", "-1Gb", "0Gb", "10Xb", "10G", "1e400Gb", "nanGb"])
  func noRates(text: String) { #expect(Quantity.bytesPerSecond(text) == nil) }

  @Test(arguments: [("20us", 20e-6), ("0.5ms", 0.5e-3), ("1s", 1), ("800ns", 800e-9), ("20µs", 20e-6), ("0us", 0)])
  func times(text: String, expected: Double) throws {
    let found = try #require(Quantity.seconds(text))
    #expect(abs(found - expected) <= 1e-15)
  }

  @Test(arguments: ["", "20", "us", "-1us", "5h"])
  func noTimes(text: String) { #expect(Quantity.seconds(text) == nil) }

  @Test func counts() {
    #expect(Quantity.counts("1…16") == [1, 2, 4, 8, 16])
    #expect(Quantity.counts("3..20") == [3, 4, 8, 16, 20])
    #expect(Quantity.counts("6,1-2,6") == [1, 2, 6])
    for text in ["", "0", "a", "4-1", "1,,2", "1-2-3", "-4", "1…9999999"] {
      #expect(Quantity.counts(text) == nil, "\(text)")
    }
  }
}
