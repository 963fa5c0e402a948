import DataParallel
import Training

extension TrainingConfiguration {
  /// Checks every value that can be checked without the data set.
  ///
  /// - Throws: ``UsageError`` or the error of a module if a value is invalid.
  func validate() throws {
    _ = try modelConfiguration()
    _ = try MicrobatchPlan(globalBatchSize: batchSize, microbatchCount: microbatches, rank: 0, worldSize: 1)
    try validateCounts()
    try validateUpdate()
  }

  private func validateCounts() throws {
    try require(
      (1...1_000_000_000_000).contains(steps), "--steps \(steps) must lie between 1 and 1000000000000.")
    try require(
      (1...1_000_000).contains(epochs ?? 1), "--epochs \(epochs ?? 1) must lie between 1 and 1000000.")
    try require((threads ?? 1) >= 1, "--threads \(threads ?? 1) must be at least 1.")
    let counts = [
      ("eval-every", evalEvery), ("checkpoint-every", checkpointEvery), ("keep-checkpoints", keepCheckpoints),
      ("keep-every", keepEvery),
      ("validation", validation), ("stall-timeout", stallTimeout),
    ]
    for (name, value) in counts { try require(value >= 0, "--\(name) \(value) must not be negative.") }
    try require(
      keepEvery == 0 || checkpointEvery > 0 && keepEvery.isMultiple(of: checkpointEvery),
      "--keep-every \(keepEvery) must be a multiple of --checkpoint-every \(checkpointEvery); otherwise there are no such "
        + "checkpoints.")
    try require(
      !keepsBest || validation > 0 && evalEvery > 0,
      "--keep-best chooses by held-out images; give --validation 5000, say, and --eval-every above 0.")
  }

  private func validateUpdate() throws {
    try require(
      learningRate.isFinite && learningRate > 0, "--learning-rate \(learningRate) must be a positive number.")
    let fractions = [
      ("beta1", optimizer.beta1), ("beta2", optimizer.beta2), ("momentum", optimizer.momentum),
      ("average-decay", optimizer.averageDecay), ("label-smoothing", labelSmoothing),
    ]
    for (name, value) in fractions {
      try require((0..<1).contains(value), "--\(name) \(value) must be in [0, 1).")
    }
    let sizes = [
      ("epsilon", optimizer.epsilon), ("weight-decay", optimizer.weightDecay), ("clip-norm", optimizer.clipNorm),
      ("bias-learning-rate-factor", optimizer.biasLearningRateFactor), ("warmup-epochs", schedule.warmupEpochs),
    ]
    for (name, value) in sizes {
      try require(value.isFinite && value >= 0, "--\(name) \(value) must be a nonnegative number.")
    }
    try require(optimizer.averageEvery >= 1, "--average-every \(optimizer.averageEvery) must be at least 1.")
    try require(
      schedule.decayFactor.isFinite && schedule.decayFactor > 0,
      "--decay-factor \(schedule.decayFactor) must be a positive number.")
  }

  private func require(_ condition: Bool, _ message: String) throws {
    if !condition { throw UsageError(message) }
  }
}
