import Collectives
import Support
import Tracing

extension Trainer {
  /// Collective: verifies that no rank's state has changed, and gathers it on rank 0, which writes a checkpoint.
  ///
  /// In mode ``CheckpointMode/async`` rank 0 copies the state and returns; at most one checkpoint is in flight. All
  /// messages are complete then: writing needs none.
  ///
  /// - Throws: ``RanksDesynchronized`` or, on every rank, ``TrainingDiverged`` if the state is not fit to be saved;
  ///   `CommunicationError` if a message fails; on rank 0 ``CheckpointError`` if another run has the directory.
  func saveCheckpoint(after step: Int) throws {
    let comparisonStart = tracer.now()
    activity.enter(.comparison)
    try trainingStep.verifyIntegrity(step: step)
    tracer.record(traceLabels.comparison, since: comparisonStart)
    let start = tracer.now()
    let clockStart = MonotonicClock.now()
    activity.enter(.checkpoint)
    fault?.strike(.checkpoint, rank: communicator.rank, step: step)
    let hasAverage = try refreshAverage(step)
    finishCheckpoint()
    defer { tracer.record(traceLabels.checkpoint, since: start) }
    switch configuration.checkpointMode {
    case .async:
      try trainingStep.gatherState(into: snapshot?.model)
      if hasAverage, let copy = snapshot?.average, let average {
        for (target, store) in zip(copy.stores, average.averaged.stores) { target.copy(from: store) }
      }
      try requireFinite(snapshot?.model, hasAverage ? snapshot?.average : nil, step: step)
      gatherSeconds = MonotonicClock.seconds(since: clockStart)
      if let snapshot {
        try save(snapshot.model, average: hasAverage ? snapshot.average : nil, step: step, inBackground: true)
      }
    case .sync:
      try trainingStep.withGatheredState { model in
        let average = hasAverage ? self.average?.averaged : nil
        try requireFinite(model, average, step: step)
        gatherSeconds = MonotonicClock.seconds(since: clockStart)
        try save(model, average: average, step: step, inBackground: false)
      }
      finishCheckpoint()
    }
  }

  /// Writes a checkpoint; does nothing on ranks without a logger.
  private func save(_ model: ModelState, average: ModelState?, step: Int, inBackground: Bool) throws {
    try logger?.saveCheckpoint(model, average: average, step: step, inBackground: inBackground, fault: fault) {
      self.activity.progress()
    }
  }

  /// Waits until rank 0 writes no checkpoint.
  func finishCheckpoint() {
    guard let logger else { return }
    activity.enter(.checkpoint)
    logger.finishCheckpoint { self.activity.progress() }
  }

  /// Collective: refuses a state with numbers that are not finite, as rank 0 holds it.
  ///
  /// The gradient may be finite where its square, which Adam keeps, is not.
  ///
  /// - Throws: ``TrainingDiverged`` on every rank.
  private func requireFinite(_ model: ModelState?, _ average: ModelState?, step: Int) throws {
    var tensor = ""
    if communicator.rank == 0 {
      tensor = model?.firstNonfiniteTensor() ?? average?.firstNonfiniteTensor().map { "average.\($0)" } ?? ""
    }
    let found = try communicator.allGather(tensor)[0]
    if !found.isEmpty {
      throw TrainingDiverged(step: step, cause: "\(found), which the step has updated")
    }
  }

  /// Collective: keeps the checkpoint of a step if its accuracy is the best so far.
  ///
  /// All ranks have the same accuracy; rank 0 knows the best one so far and compares.
  ///
  /// - Returns: On rank 0, whether the checkpoint is noted as the best one.
  func keepIfBest(_ step: Int, _ accuracy: Double, isSaved: Bool) throws -> Bool {
    var isBest: UInt8 = logger?.isBest(accuracy) == true ? 1 : 0
    try withUnsafeMutableBytes(of: &isBest) { try communicator.broadcast($0, root: 0) }
    guard isBest != 0 else { return false }
    if !isSaved { try saveCheckpoint(after: step) }
    // A checkpoint that is not complete cannot be the best one. It was written during the evaluation.
    finishCheckpoint()
    return logger?.markBest(step: step, accuracy: accuracy) ?? false
  }

  /// Collective: gathers the average of the weights; returns whether there is one.
  func refreshAverage(_ number: Int) throws -> Bool {
    guard let average, let estimation else { return false }
    return try average.refresh(after: number, trainingStep, estimation)
  }
}
