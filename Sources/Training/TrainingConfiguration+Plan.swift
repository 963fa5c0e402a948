import Collectives
import DataParallel

extension TrainingConfiguration {
  /// Divides a batch among ranks.
  ///
  /// - Parameter communicator: The ranks, this one among them.
  /// - Returns: This rank's part.
  /// - Throws: `MicrobatchPlan.InvalidPlan` or `WorldSizeError` if the batch, or what ``wire`` rounds, cannot be divided.
  public func microbatchPlan(_ communicator: any Communicator) throws -> MicrobatchPlan {
    let plan = try MicrobatchPlan(
      globalBatchSize: batchSize, microbatchCount: microbatches, rank: communicator.rank,
      worldSize: communicator.worldSize)
    try wire.validate(tree: plan.tree, worldSize: communicator.worldSize)
    return plan
  }
}
