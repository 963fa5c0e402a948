import Models
import Optimizers
import Tensors

/// Steps without an update, and the place where numbers stopped being finite.
extension TrainingStep {
  /// The result of a step whose batch is left out: parameters and statistics stay as they are.
  ///
  /// Not collective.
  package func skip(step: Int) -> Result {
    skipOptimizer(step: step)
    return Result(
      loss: .nan, learningRate: Float(schedule(step)), gradientNorm: .nan, isFinite: false, isSkipped: true)
  }

  /// Collective: finds where the numbers of the last step first stopped being finite; call it before the next step.
  ///
  /// - Parameter images: This rank's images of the step.
  /// - Returns: The place, equal on every rank.
  /// - Throws: `CommunicationError` if a message fails.
  func nonfiniteCause(_ images: UnsafePointer<Float>) throws -> NonfiniteCause {
    let isAlone = communicator.worldSize == 1
    let isDivided = mode == .sharded && !reducer.isHierarchical
    let origin = executor.firstNonfinite(images, batch: localBatch) { element in
      // Elsewhere the first subtree's gradient has been replaced by the sum over all ranks.
      isAlone || isDivided && !reducer.shards.contains { $0[communicator.rank].contains(element) }
    }
    let sum = origin ?? executor.firstNonfinite(images, batch: localBatch) { _ in true }
    return try NonfiniteCause(
      origin, fallback: sum?.order, plan: plan, communicator: communicator, place: executor.place)
  }

  /// Collective: ends a step without an update.
  func discardUpdate(step: Int) throws {
    if mode == .sharded { reducer.discard() } else { try reducer.waitForAllGathers() }
    try executor.discardRunningStatistics(localBatch)
    skipOptimizer(step: step)
  }

  /// Lets the update rule do what a step requires without an update.
  private func skipOptimizer(step: Int) {
    for (bucket, whole) in reducer.plan.buckets.enumerated() {
      let elements = mode == .sharded ? reducer.ownedShard(bucket) : whole
      guard !elements.isEmpty else { continue }
      integrity.verifyBeforeUpdate(elements, bucket)
      optimizer.rule.skip(elements, of: operands(elements, bucket), at: step)
      integrity.recordUpdate(elements, bucket)
    }
  }
}
