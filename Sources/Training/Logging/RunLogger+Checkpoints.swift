import Models
import Support
import Tensors

extension RunLogger {
  /// Writes a checkpoint after a step; a failure is a warning, because a full disk must not stop the run.
  ///
  /// - Parameters:
  ///   - model: The model, with all optimizer states. In the background, a copy that nothing changes.
  ///   - average: The averaged weights with their running statistics, if there are any.
  ///   - step: The last step done.
  ///   - inBackground: Whether to return while the checkpoint is written.
  ///   - fault: A fault that a test injects.
  ///   - progress: Called after every tensor.
  /// - Throws: ``CheckpointError`` if another run has taken over the directory.
  func saveCheckpoint(
    _ model: ModelState, average: ModelState?, step: Int, inBackground: Bool, fault: FaultInjection?,
    progress: @escaping () -> Void
  ) throws {
    try output.requireLease()
    var state = Checkpoint.State(
      step: step, streamPosition: step * configuration.batchSize, seed: configuration.seed,
      network: networkName, dataFingerprint: dataFingerprint, dataDigest: dataDigest,
      configuration: Dictionary(
        uniqueKeysWithValues: configuration.settings.map { ($0.name, $0.value) }))
    if skippedSteps > 0 { state.skippedSteps = skippedSteps }
    let directory = CheckpointDirectory(output.path("checkpoints"))
    let retention = CheckpointDirectory.Retention(
      newest: configuration.keepCheckpoints, every: configuration.keepEvery)
    let logs = logs
    let flushed = Result { for log in logs { try log.flush() } }
    // Another thread may synchronize an open file while lines are appended.
    nonisolated(unsafe) let files = logs.map(\.file)
    let logDirectories = [output.path, output.path("train"), output.path("eval")]
    var tensorCount = 0
    let showProgress = {
      progress()
      tensorCount += 1
      self.showActivity("checkpoint", tensorCount, of: nil)
    }
    showActivity("checkpoint", 0, of: nil)
    writer.write(step: step, inBackground: inBackground, progress: showProgress) { [state, whitening] progress in
      // A published checkpoint means that the logs are complete up to its step.
      try flushed.get()
      for file in files { try file.synchronize() }
      for path in logDirectories { try OutputFile.synchronizeDirectory(path) }
      try directory.save(
        model, average: average, whitening: whitening, state: state, keeping: retention,
        reaching: { try fault?.strike(at: $0, step: step) }, progress: progress)
    }
    // The time of writing must not count as the next step's.
    lastStep = clock.now
  }

  /// Records the end of a write; a failure is reported.
  package func settleCheckpoint(_ outcome: CheckpointWriter.Outcome?) {
    guard let outcome else { return }
    guard let failure = outcome.failure else {
      (savedStep, unsaved, checkpointSeconds) = (outcome.step, nil, outcome.seconds)
      console.report(
        RunEvent("checkpoint", ["step": .integer(outcome.step), "seconds": .number(outcome.seconds)]))
      return
    }
    let reason = "\(failure)".trimmingSuffix(".")
    unsaved = (outcome.step, reason)
    warn(
      "THE CHECKPOINT OF STEP \(outcome.step) WAS NOT WRITTEN: \(reason); training continues, older checkpoints are kept, and "
        + "the next one is tried as planned.")
  }

  /// Waits until no checkpoint is being written; a terminal shows a long wait.
  ///
  /// - Parameter progress: Called when the write progresses.
  func finishCheckpoint(progress: () -> Void) {
    var count = 0
    showActivity("checkpoint", 0, of: nil)
    let outcome = writer.wait {
      progress()
      count += 1
      showActivity("checkpoint", count, of: nil)
    }
    settleCheckpoint(outcome)
    lastStep = clock.now
  }

  /// Verifies, at the end of the run, that the checkpoint of its last step has been written.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  func requireSaved(step: Int) throws {
    guard let unsaved, unsaved.step == step else { return }
    let newest = savedStep > 0 ? "the newest checkpoint is that of step \(savedStep)" : "there is no checkpoint"
    throw CheckpointError(
      .inputOutput,
      "the checkpoint of step \(step), the last one, could not be written: \(unsaved.reason); \(newest); make room in "
        + "\(output.path) or repair its disk, and start again to resume.")
  }

  /// Whether an accuracy on the held-out images is higher than that of every checkpoint so far.
  func isBest(_ accuracy: Double) -> Bool {
    accuracy > CheckpointDirectory(output.path("checkpoints")).best?.accuracy ?? -1
  }

  /// Notes the checkpoint of a step as the best one, so that it is kept; a failure is a warning.
  ///
  /// - Returns: Whether it is noted.
  func markBest(step: Int, accuracy: Double) -> Bool {
    guard unsaved?.step != step else { return false }
    do { try CheckpointDirectory(output.path("checkpoints")).markBest(step: step, accuracy: accuracy) } catch {
      warn("step \(step) is not noted as the best: \(error)")
      return false
    }
    return true
  }

  /// Reports the checkpoint that is the best one so far.
  func reportBest(step: Int, accuracy: Double) {
    console.report(
      RunEvent(
        "best", ["step": .integer(step), "accuracy": .number(accuracy)],
        lines: ["best accuracy on the held-out images so far: step \(step) is kept"]))
  }

  /// Loads the newest valid checkpoint into the model, and cuts the logs back to it.
  ///
  /// - Parameter model: The model, with all optimizer states.
  /// - Returns: The checkpoint's step; `nil` if there is none.
  /// - Throws: ``CheckpointError`` if it cannot be read, or a log cannot be written.
  func loadNewestCheckpoint(into model: ModelState) throws -> Int? {
    let (checkpoint, warnings) = try CheckpointDirectory(output.path("checkpoints")).latest(settingAside: true)
    for warning in warnings { warn(warning) }
    guard let checkpoint, let state = checkpoint.state else { return nil }
    try checkpoint.load(into: model)
    try rollBack(to: state)
    return state.step
  }
}

extension String {
  /// This text without an end, if it has it.
  func trimmingSuffix(_ end: String) -> String { hasSuffix(end) ? String(dropLast(end.count)) : self }
}
