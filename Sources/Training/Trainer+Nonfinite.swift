import Collectives
import Datasets
import Models

extension Trainer {
  /// Collective: ends the run because of a step whose numbers are not finite, or records that it had no update.
  ///
  /// - Parameters:
  ///   - step: The step.
  ///   - batch: This rank's images.
  ///   - isSkipped: Whether the step had no update.
  /// - Throws: ``TrainingDiverged`` on every rank, unless the step had no update and few others before it.
  func handleNonfinite(step: Int, _ batch: Batch, isSkipped: Bool) throws {
    // Every rank may throw, and then free the buffers that parameters in flight still target.
    try trainingStep.waitForParameters()
    let cause = try trainingStep.nonfiniteCause(batch.images.pointer).description { sampleNumber(step, $0) }
    guard isSkipped else { throw TrainingDiverged(step: step, cause: cause) }
    try skip(step, because: cause)
  }

  /// Records a step without an update.
  ///
  /// - Throws: ``TrainingDiverged`` on every rank after too many in sequence.
  private func skip(_ step: Int, because cause: String) throws {
    skippedSteps.insert(step)
    var first = step
    while skippedSteps.contains(first - 1) { first -= 1 }
    let limit = NonfinitePolicy.maximumConsecutiveSkips
    if step - first + 1 > limit {
      throw TrainingDiverged(step: step, cause: cause, reason: "the \(limit) steps before it had no update either")
    }
    logger?.warn("loss or gradient of step \(step) is not finite, first in \(cause); the step has no update.")
  }

  /// Collective: restores the newest checkpoint, because a step's numbers were not finite; the step will have no update.
  ///
  /// - Parameter error: The step.
  /// - Returns: The checkpoint's step.
  /// - Throws: ``TrainingDiverged`` on every rank if there is no checkpoint, or after too many repetitions;
  ///   `CommunicationError` if a message fails; on rank 0 ``CheckpointError`` if no checkpoint is valid.
  func rollBack(_ error: TrainingDiverged) throws -> Int {
    func givingUp(_ reason: String) -> TrainingDiverged {
      TrainingDiverged(step: error.step, cause: error.cause, reason: reason)
    }
    try skip(error.step, because: error.cause)
    finishCheckpoint()
    if communicator.rank == 0, model.optimizerStates.isEmpty { model.allocateOptimizerStates(trainingStep.stateNames) }
    var restored = try logger?.loadNewestCheckpoint(into: model) ?? 0
    try withUnsafeMutableBytes(of: &restored) { try communicator.broadcast($0, root: 0) }
    guard restored > 0 else { throw givingUp("there is no checkpoint to go back to") }
    rollbacks = (restored, rollbacks.step == restored ? rollbacks.count + 1 : 1)
    guard rollbacks.count <= NonfinitePolicy.maximumRollbacks else {
      throw givingUp("the run has returned to step \(restored) \(NonfinitePolicy.maximumRollbacks) times")
    }
    let isReplicated = configuration.optimizerState == .replicated || communicator.worldSize == 1
    try model.broadcast(root: 0, includingOptimizerStates: isReplicated, on: communicator)
    try trainingStep.prepare()
    average?.forget()
    logger?.warn("the run returns to step \(restored), and step \(error.step) will have no update.")
    return restored
  }
}
