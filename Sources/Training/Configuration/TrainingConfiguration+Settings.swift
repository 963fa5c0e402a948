import Optimizers

extension TrainingConfiguration {
  /// The settings that a checkpoint must share with a run that resumes it: all that affect the parameters.
  public var resumeSettings: [(name: String, value: String)] {
    let dependsOnSteps = schedule.dependsOnSteps || resolution.isProgressive
    return networkSettings + dataSettings + updateSettings + (dependsOnSteps ? [("steps", String(steps))] : [])
  }

  /// Every setting under its flag's name, in the order of `--help`.
  public var settings: [(name: String, value: String)] {
    let others: [(String, String?)] = [
      ("steps", schedule.dependsOnSteps || resolution.isProgressive ? nil : String(steps)),
      ("data", data), ("output-dir", outputDirectory),
      ("threads", threads.map(String.init)), ("shared-cores", sharedCores.rawValue), ("engine", engine.rawValue),
      ("bucket-size", String(bucketByteCount)), ("progress", progress.rawValue),
      ("optimizer-state", optimizerState.rawValue), ("on-nonfinite", onNonfinite.rawValue),
      ("stall-timeout", String(stallTimeout)),
      ("eval-every", String(evalEvery)), ("eval-batches", evalBatches.text),
      ("eval-ranks", evalRanks.rawValue), ("eval-statistics", evalStatistics.rawValue), ("test-flip", text(testFlip)),
      ("checkpoint-every", String(checkpointEvery)), ("checkpoint-mode", checkpointMode.rawValue),
      ("keep-checkpoints", String(keepCheckpoints)), ("keep-every", String(keepEvery)),
      ("keep-best", text(keepsBest)),
      ("init", initialWeights), ("resume", resume),
    ]
    return resumeSettings + others.compactMap { name, value in value.map { (name, $0) } }
  }

  private var networkSettings: [(name: String, value: String)] {
    [
      ("recipe", recipe.rawValue), ("architecture", architecture.rawValue), ("depth", String(depth)),
      ("widen-factor", String(widenFactor)), ("block", block.map(String.init).joined(separator: ",")),
      ("dropout", String(dropout)), ("initialization", initialization.weights.rawValue),
      ("scale-initialization", initialization.scale.rawValue), ("batch-norm", batchNorm.rawValue),
    ]
  }

  private var dataSettings: [(name: String, value: String)] {
    [
      ("batch-size", String(batchSize)), ("microbatches", String(microbatches)), ("seed", String(seed)),
      ("dataset", dataset.rawValue), ("shuffle", shuffle.rawValue), ("last-batch", lastBatch.rawValue),
      ("validation", String(validation)), ("normalize", normalize.rawValue),
      ("crop-padding", String(augmentation.cropPadding)), ("crop-border", augmentation.cropBorder.rawValue),
      ("flip", augmentation.flip.rawValue), ("cutout", String(augmentation.cutout)),
      ("resolution", resolution.description), ("resolution-mode", resolutionMode.rawValue),
    ]
  }

  private var updateSettings: [(name: String, value: String)] {
    [
      ("optimizer", optimizer.name.rawValue), ("learning-rate", String(learningRate)),
      ("schedule", schedule.name.rawValue), ("milestones", schedule.milestonesText),
      ("decay-factor", String(schedule.decayFactor)), ("schedule-points", schedule.pointsText),
      ("warmup-epochs", String(schedule.warmupEpochs)), ("beta1", String(optimizer.beta1)),
      ("beta2", String(optimizer.beta2)), ("epsilon", String(optimizer.epsilon)),
      ("momentum", String(optimizer.momentum)), ("nesterov", text(optimizer.nesterov)),
      ("weight-decay", String(optimizer.weightDecay)), ("decay-biases", text(optimizer.decaysBiases)),
      ("bias-learning-rate-factor", String(optimizer.biasLearningRateFactor)),
      ("clip-norm", String(optimizer.clipNorm)), ("label-smoothing", String(labelSmoothing)),
      ("average-decay", String(optimizer.averageDecay)), ("average-every", String(optimizer.averageEvery)),
      ("wire", wire.rawValue),
    ]
  }

  private func text(_ flag: Bool) -> String { flag ? "true" : "false" }
}
