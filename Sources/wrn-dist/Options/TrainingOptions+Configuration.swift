import ArgumentParser
import Datasets
import Models
import Optimizers
import Training

extension TrainingOptions {
  /// Overwrites the defaults with the given flags, and validates every value.
  ///
  /// ``ConfigurationSources`` has merged flags, variables and `--config` before.
  ///
  /// - Returns: The run's configuration; the output directory is empty if none was given.
  /// - Throws: ``UsageError`` or the error of a module if a value is invalid.
  func configuration() throws -> TrainingConfiguration {
    var result = TrainingConfiguration(recipe: network.recipe ?? .trax)
    try setNetwork(&result)
    try setData(&result)
    try setUpdate(&result)
    set(&result.sharedCores, machine.sharedCores)
    set(&result.engine, machine.engine)
    set(&result.bucketByteCount, try machine.bucketSize?.bucketByteCount())
    set(&result.progress, machine.progress)
    set(&result.optimizerState, machine.optimizerState)
    set(&result.wire, machine.wire)
    set(&result.onNonfinite, machine.onNonfinite)
    set(&result.stallTimeout, machine.stallTimeout)
    set(&result.evalEvery, evaluation.evalEvery)
    set(&result.evalBatches, evaluation.evalBatches)
    set(&result.evalRanks, evaluation.evalRanks)
    set(&result.evalStatistics, evaluation.evalStatistics)
    set(&result.testFlip, evaluation.testFlip)
    set(&result.outputDirectory, output.outputDir)
    set(&result.checkpointEvery, output.checkpointEvery)
    set(&result.checkpointMode, output.checkpointMode)
    set(&result.keepCheckpoints, output.keepCheckpoints)
    set(&result.keepEvery, output.keepEvery)
    set(&result.keepsBest, output.keepBest)
    set(&result.resume, output.resume)
    result.threads = machine.threads
    result.initialWeights = output.`init`
    try result.validate()
    return result
  }

  private func setNetwork(_ result: inout TrainingConfiguration) throws {
    set(&result.architecture, network.architecture)
    set(&result.depth, network.depth)
    if let blocks = network.blocksPerGroup {
      try require(network.depth == nil, "--depth and --blocks-per-group both set the depth; give one of them.")
      try require((1...1666).contains(blocks), "--blocks-per-group \(blocks) must lie between 1 and 1666.")
      result.depth = 6 * blocks + 4
    }
    set(&result.widenFactor, network.widenFactor)
    set(&result.block, network.block?.numbers)
    set(&result.dropout, network.dropout)
    set(&result.initialization.weights, network.initialization)
    set(&result.initialization.scale, network.scaleInitialization)
    set(&result.batchNorm, network.batchNorm)
  }

  private func setData(_ result: inout TrainingConfiguration) throws {
    try require(
      length.epochs == nil || length.steps == nil,
      "--steps and --epochs both set the length of the run; give one of them.")
    if let epochs = length.epochs { result.epochs = epochs }
    if let steps = length.steps { (result.steps, result.epochs) = (steps, nil) }
    set(&result.batchSize, length.batchSize)
    set(&result.microbatches, length.microbatches)
    set(&result.seed, length.seed)
    set(&result.dataset, input.dataset)
    set(&result.data, input.data)
    set(&result.shuffle, input.shuffle)
    set(&result.lastBatch, input.lastBatch)
    set(&result.validation, input.validation)
    set(&result.normalize, input.normalize)
    let (padding, cutout) = (augmentation.cropPadding ?? 0, augmentation.cutout ?? 0)
    try require(
      Augmentation.cropPaddings.contains(padding), "--crop-padding \(padding) must lie between 0 and 31 pixels.")
    try require(
      Augmentation.cutouts.contains(cutout), "--cutout \(cutout) must lie between 0 and 32, the side of an image.")
    set(&result.augmentation.cropPadding, augmentation.cropPadding)
    set(&result.augmentation.cropBorder, augmentation.cropBorder)
    set(&result.augmentation.flip, augmentation.flip)
    set(&result.augmentation.cutout, augmentation.cutout)
    set(&result.resolution, try augmentation.resolution.map(ResolutionSchedule.init))
    set(&result.resolutionMode, augmentation.resolutionMode)
  }

  private func setUpdate(_ result: inout TrainingConfiguration) throws {
    set(&result.optimizer.name, update.optimizer)
    set(&result.optimizer.momentum, update.momentum)
    set(&result.optimizer.nesterov, update.nesterov)
    set(&result.optimizer.beta1, update.beta1)
    set(&result.optimizer.beta2, update.beta2)
    set(&result.optimizer.epsilon, update.epsilon)
    set(&result.optimizer.weightDecay, update.weightDecay)
    set(&result.optimizer.decaysBiases, update.decayBiases)
    set(&result.optimizer.biasLearningRateFactor, update.biasLearningRateFactor)
    set(&result.optimizer.clipNorm, update.clipNorm)
    set(&result.optimizer.averageDecay, update.averageDecay)
    set(&result.optimizer.averageEvery, update.averageEvery)
    set(&result.learningRate, rate.learningRate)
    set(&result.schedule.name, rate.schedule)
    set(&result.schedule.milestones, try rate.milestones.map(LearningRateSchedule.Shape.parseMilestones))
    set(&result.schedule.decayFactor, rate.decayFactor)
    if let text = rate.schedulePoints {
      result.schedule.points = text == "triangle" ? nil : try LearningRateSchedule.Shape.parsePoints(text)
    }
    set(&result.schedule.warmupEpochs, rate.warmupEpochs)
    set(&result.labelSmoothing, rate.labelSmoothing)
  }

  private func set<Value>(_ target: inout Value, _ given: Value?) {
    if let given { target = given }
  }

  private func require(_ condition: Bool, _ message: String) throws {
    if !condition { throw UsageError(message) }
  }
}
