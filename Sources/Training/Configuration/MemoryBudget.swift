import Collectives
import DataParallel
import Models

extension TrainingConfiguration {
  /// Returns what one rank will allocate for a run, before it allocates anything.
  ///
  /// A test holds it against what a ``Trainer`` has planned.
  ///
  /// - Parameters:
  ///   - plan: The rank's part of a batch.
  ///   - engine: Computes convolutions.
  ///   - workerCount: The threads of the rank.
  ///   - rank: The rank.
  ///   - hosts: The host of every rank, as `Communicator.hosts` has them.
  /// - Returns: Bytes.
  /// - Throws: `WideResNet.InvalidConfiguration` if there is no such network.
  public func plannedByteCount(
    _ plan: MicrobatchPlan, engine: any ConvolutionEngine, workerCount: Int, rank: Int,
    hosts: [Int]
  ) throws -> Int {
    let network = WideResNet(
      try WideResNet.Configuration(depth: depth, widenFactor: widenFactor))
    let imageByteCount = WideResNet.imageSize * WideResNet.imageSize * WideResNet.imageChannels * 4
    // Three batches are in the loader's ring.
    let loader = 3 * plan.localBatchSize * (imageByteCount + 1)
    return network.weightByteCount + loader
      + plannedStepByteCount(
        network, plan, engine: engine, workerCount: workerCount, rank: rank, hosts: hosts)
      + (evalEvery == 0
        ? 0
        : plannedEvaluationByteCount(
          network, engine: engine, workerCount: workerCount,
          takesPart: evalRanks == .all || rank == 0))
  }

  /// The bytes of a ``TrainingStep``: its pass, the exchange between ranks, and the moments that this rank keeps.
  func plannedStepByteCount(
    _ network: WideResNet, _ plan: MicrobatchPlan, engine: any ConvolutionEngine,
    workerCount: Int, rank: Int, hosts: [Int]
  ) -> Int {
    let pass = network.passByteCount(
      engine: engine, workerCount: workerCount, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: plan.localMicrobatches, tree: plan.tree, scope: batchNorm, purpose: .training)
    let exchange = GradientExchange.size(
      BucketPlan(elementCount: network.parameterCount, bucketByteCount: bucketByteCount),
      tree: plan.tree, wire: wire, rank: rank, hosts: hosts)
    let moments =
      optimizerState == .sharded ? exchange.ownedElementCount : network.parameterCount
    return pass + exchange.byteCount + 4 * 2 * moments
  }

  /// Returns what an ``Evaluation`` will allocate.
  ///
  /// - Parameters:
  ///   - network: The layers.
  ///   - engine: Computes convolutions.
  ///   - workerCount: The threads of the rank.
  ///   - takesPart: Whether the rank computes batches.
  /// - Returns: Bytes.
  public func plannedEvaluationByteCount(
    _ network: WideResNet, engine: any ConvolutionEngine, workerCount: Int, takesPart: Bool
  ) -> Int {
    let count = takesPart ? microbatches : 0
    let images = count * (batchSize / microbatches)
    let pass = network.passByteCount(
      engine: engine, workerCount: workerCount, imagesPerMicrobatch: batchSize / microbatches,
      microbatches: 0..<count, tree: ReductionTree(leafCount: microbatches), scope: batchNorm,
      purpose: .inference)
    return pass + images * WideResNet.imageSize * WideResNet.imageSize * WideResNet.imageChannels * 4
  }
}

extension WideResNet {
  /// The bytes of a ``ModelState`` without moments: parameters and running statistics.
  var weightByteCount: Int { 4 * (parameterCount + statisticsLayout.elementCount) }
}
