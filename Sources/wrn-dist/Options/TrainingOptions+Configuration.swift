import ArgumentParser
import DataParallel
import Foundation
import Models
import Training

extension TrainingOptions {
  /// Joins recipe, `--config` and flags, and checks every value.
  ///
  /// - Returns: The run's configuration; the output folder is empty if none was given.
  /// - Throws: ``UsageError`` if a value cannot be.
  func configuration() throws -> TrainingConfiguration {
    var result = TrainingConfiguration()
    set(&result.recipe, network.recipe)
    set(&result.depth, network.depth)
    set(&result.widenFactor, network.widenFactor)
    set(&result.batchNorm, network.batchNorm)
    set(&result.steps, length.steps)
    set(&result.batchSize, length.batchSize)
    set(&result.microbatches, length.microbatches)
    set(&result.seed, length.seed)
    set(&result.data, input.data)
    set(&result.shuffle, input.shuffle)
    set(&result.learningRate, update.learningRate)
    set(&result.optimizer.beta1, update.beta1)
    set(&result.optimizer.beta2, update.beta2)
    set(&result.optimizer.epsilon, update.epsilon)
    set(&result.optimizer.weightDecay, update.weightDecay)
    set(&result.engine, machine.engine)
    set(&result.bucketByteCount, machine.bucketSize?.value)
    set(&result.progress, machine.progress)
    set(&result.optimizerState, machine.optimizerState)
    set(&result.wire, machine.wire)
    set(&result.evalEvery, evaluation.evalEvery)
    set(&result.evalBatches, evaluation.evalBatches)
    set(&result.evalRanks, evaluation.evalRanks)
    set(&result.evalStatistics, evaluation.evalStatistics)
    set(&result.outputDirectory, output.outputDir)
    set(&result.checkpointEvery, output.checkpointEvery)
    set(&result.keepCheckpoints, output.keepCheckpoints)
    set(&result.resume, output.resume)
    result.threads = machine.threads
    result.initialWeights = output.`init`
    try check(result)
    return result
  }

  /// Turns `--epochs` into steps, now that the size of the training set is known.
  func steps(_ configuration: TrainingConfiguration, trainingCount: Int) -> Int {
    guard let epochs = length.epochs else { return configuration.steps }
    return (epochs * trainingCount + configuration.batchSize - 1) / configuration.batchSize
  }

  private func set<Value>(_ target: inout Value, _ given: Value?) {
    if let given { target = given }
  }

  private func check(_ configuration: TrainingConfiguration) throws {
    func require(_ condition: Bool, _ sentence: String) throws {
      if !condition { throw UsageError(sentence) }
    }
    _ = try WideResNet.Configuration(
      depth: configuration.depth, widenFactor: configuration.widenFactor)
    try require(
      (1...1_000_000_000_000).contains(configuration.steps),
      "--steps \(configuration.steps) must lie between 1 and 1000000000000.")
    try require(
      length.epochs == nil || length.steps == nil,
      "--steps and --epochs both say how long the run is; give one of them.")
    try require(
      (1...1_000_000).contains(length.epochs ?? 1),
      "--epochs \(length.epochs ?? 1) must lie between 1 and 1000000.")
    _ = try MicrobatchPlan(
      globalBatchSize: configuration.batchSize, microbatchCount: configuration.microbatches, rank: 0, worldSize: 1)
    try require(
      (configuration.threads ?? 1) >= 1,
      "--threads \(configuration.threads ?? 1) must be at least 1.")
    try require(
      BucketPlan.byteCounts.contains(configuration.bucketByteCount),
      "--bucket-size \(configuration.bucketByteCount) must lie between 4KiB and 1GiB.")
    let counts = [
      ("eval-every", configuration.evalEvery), ("checkpoint-every", configuration.checkpointEvery),
      ("keep-checkpoints", configuration.keepCheckpoints),
    ]
    for (name, value) in counts {
      try require(value >= 0, "--\(name) \(value) must not be negative.")
    }
    let rate = configuration.learningRate
    try require(rate.isFinite && rate > 0, "--learning-rate \(rate) must be a positive number.")
    let optimizer = configuration.optimizer
    for (name, value) in [("beta1", optimizer.beta1), ("beta2", optimizer.beta2)] {
      try require((0..<1).contains(value), "--\(name) \(value) must lie in [0, 1).")
    }
    for (name, value) in [("epsilon", optimizer.epsilon), ("weight-decay", optimizer.weightDecay)] {
      try require(
        value.isFinite && value >= 0, "--\(name) \(value) must be a number that is not negative.")
    }
  }
}

/// A flag, a value or a combination that cannot be run.
struct UsageError: Error, CustomStringConvertible {
  /// One sentence: what is wrong and how to mend it.
  let description: String

  init(_ description: String) { self.description = description }
}
