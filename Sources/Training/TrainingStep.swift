import Collectives
import DataParallel
import Networks
import Optimizers
import Tensors

/// One training step: what every rank does with one batch, in a straight line.
///
/// All memory is planned at the start; a step allocates nothing. Every method is collective: every rank calls it, in the
/// same order.
public final class TrainingStep {
  let plan: MicrobatchPlan
  private let pass: NetworkPass
  private let run: MicrobatchRun
  private let reducer: GradientReducer
  private let optimizer: Adam
  private let schedule: LearningRateSchedule
  private let model: ModelState
  /// The gradient of the last step, averaged over the global batch.
  package let gradients: ParameterStore
  private let pool: WorkerPool
  private let normPartials: AlignedBuffer<Double>

  /// What a step reports.
  public struct Result: Sendable {
    /// The mean loss over the global batch, before the update.
    public let loss: Float
    /// The learning rate of the update.
    public let learningRate: Float
    /// The Euclidean norm of the averaged gradient of all parameters.
    public let gradientNorm: Float

    /// Makes a report.
    package init(loss: Float, learningRate: Float, gradientNorm: Float) {
      self.loss = loss
      self.learningRate = learningRate
      self.gradientNorm = gradientNorm
    }
  }

  /// Plans a step.
  ///
  /// - Parameters:
  ///   - model: Parameters, running statistics and moments; updated by every step.
  ///   - plan: How the batch is divided.
  ///   - configuration: Batch norm, optimizer, learning rate.
  ///   - engine: What computes convolutions.
  ///   - pool: This rank's threads.
  ///   - communicator: The ranks.
  public init(
    _ model: ModelState, plan: MicrobatchPlan, configuration: TrainingConfiguration,
    engine: any ConvolutionEngine, pool: WorkerPool, communicator: any Communicator
  ) {
    self.model = model
    self.plan = plan
    self.pool = pool
    let network = model.network
    pass = NetworkPass(
      network, engine: engine, pool: pool, parameters: model.parameters,
      runningStatistics: model.runningStatistics, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      microbatches: plan.localMicrobatches, tree: plan.tree, scope: configuration.batchNorm,
      purpose: .training)
    run = MicrobatchRun(
      globalImageCount: plan.globalBatchSize, imagesPerMicrobatch: plan.imagesPerMicrobatch,
      localRange: plan.localMicrobatches,
      reduction: TreeReduction(
        tree: plan.tree, communicator: communicator,
        maximumElementCount: network.largestReductionCount))
    reducer = GradientReducer(
      elementCount: network.parameterCount, tree: plan.tree, communicator: communicator)
    gradients = ParameterStore(network.parameterLayout)
    optimizer = Adam(configuration.optimizer, firstMoment: model.firstMoment, secondMoment: model.secondMoment)
    schedule = .constant(configuration.learningRate)
    normPartials = AlignedBuffer(count: Self.pieces(network.parameterCount))
  }

  /// The bytes of all memory that the step planned, without parameters and moments.
  public var byteCount: Int { pass.byteCount + gradients.bytes.count + reducer.byteCount }

  /// The logits of this rank's images of the last step, `[images, classes]`.
  package var logits: UnsafePointer<Float> { pass.logits }

  /// Computes step `step` (the first is 1) on this rank's images and updates the model.
  ///
  /// - Parameters:
  ///   - images: This rank's images of the step's batch, `NHWC`, raw pixels.
  ///   - labels: A class an image.
  ///   - step: The number of the step.
  /// - Returns: Loss, learning rate and gradient norm, the same bits on every rank.
  /// - Throws: ``CommunicationError`` if an exchange fails.
  public func callAsFunction(
    _ images: UnsafePointer<Float>, labels: UnsafePointer<UInt8>, step: Int
  ) throws -> Result {
    let loss = try pass.forward(images, labels: labels, run: run, statistics: .batch)
    try pass.updateRunningStatistics(run)
    try pass.backward(images, run: run)
    try reducer.reduce({ pass.gradientSegments[$0].pointer }, into: gradients.pointer)
    let rate = schedule(step)
    let norm = gradientNorm()
    pool.run(Self.pieces(gradients.elements.count), with: (self, rate, step)) { context, i, _ in
      let (owner, rate, step) = context
      owner.optimizer.step(
        parameters: owner.model.parameters, gradients: owner.gradients, learningRate: rate, step: step,
        range: Self.piece(i, of: owner.gradients.elements.count))
    }
    return Result(loss: Float(loss), learningRate: Float(rate), gradientNorm: norm)
  }

  /// The Euclidean norm of the gradient: squares summed in Double within pieces of fixed size, then over pieces.
  private func gradientNorm() -> Float {
    pool.run(normPartials.count, with: (gradients.elements, normPartials)) { context, i, _ in
      let (elements, partials) = context
      var sum = 0.0
      for j in Self.piece(i, of: elements.count) { sum += Double(elements[j]) * Double(elements[j]) }
      partials.pointer[i] = sum
    }
    return Float(normPartials.elements.reduce(0, +).squareRoot())
  }

  // 16,384 elements are 64 KiB of each array: large enough to hand out, small enough to share among many workers.
  private static let pieceCount = 16_384
  private static func pieces(_ count: Int) -> Int { (count + pieceCount - 1) / pieceCount }
  private static func piece(_ i: Int, of count: Int) -> Range<Int> {
    i * pieceCount..<min((i + 1) * pieceCount, count)
  }
}
