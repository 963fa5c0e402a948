import ArgumentParser
import DataParallel
import Foundation
import Models
import Support
import Training
import Yams

extension TrainingOptions {
  /// Overwrites the defaults with the given flags, and validates every value.
  ///
  /// `TrainCommand` has parsed `--config` before, as flags before those of the command line.
  ///
  /// - Returns: The run's configuration; the output directory is empty if none was given.
  /// - Throws: ``UsageError`` or the error of a module if a value is invalid.
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
    set(&result.bucketByteCount, try machine.bucketSize?.bucketByteCount())
    set(&result.progress, machine.progress)
    set(&result.optimizerState, machine.optimizerState)
    set(&result.wire, machine.wire)
    set(&result.stallTimeout, machine.stallTimeout)
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
    try validate(result)
    return result
  }

  /// Returns the steps of the run; converts `--epochs` with the size of the training set.
  func steps(_ configuration: TrainingConfiguration, trainingCount: Int) -> Int {
    guard let epochs = length.epochs else { return configuration.steps }
    return (epochs * trainingCount).dividedRoundingUp(by: configuration.batchSize)
  }

  private func set<Value>(_ target: inout Value, _ given: Value?) {
    if let given { target = given }
  }

  private func validate(_ configuration: TrainingConfiguration) throws {
    func require(_ condition: Bool, _ message: String) throws {
      if !condition { throw UsageError(message) }
    }
    _ = try WideResNetConfiguration(
      depth: configuration.depth, widenFactor: configuration.widenFactor)
    try require(
      (1...1_000_000_000_000).contains(configuration.steps),
      "--steps \(configuration.steps) must lie between 1 and 1000000000000.")
    try require(
      length.epochs == nil || length.steps == nil,
      "--steps and --epochs both set the length of the run; give one of them.")
    try require(
      (1...1_000_000).contains(length.epochs ?? 1),
      "--epochs \(length.epochs ?? 1) must lie between 1 and 1000000.")
    _ = try MicrobatchPlan(
      globalBatchSize: configuration.batchSize, microbatchCount: configuration.microbatches, rank: 0, worldSize: 1)
    try require(
      (configuration.threads ?? 1) >= 1,
      "--threads \(configuration.threads ?? 1) must be at least 1.")
    let counts = [
      ("eval-every", configuration.evalEvery), ("checkpoint-every", configuration.checkpointEvery),
      ("keep-checkpoints", configuration.keepCheckpoints), ("stall-timeout", configuration.stallTimeout),
    ]
    for (name, value) in counts {
      try require(value >= 0, "--\(name) \(value) must not be negative.")
    }
    let rate = configuration.learningRate
    try require(rate.isFinite && rate > 0, "--learning-rate \(rate) must be a positive number.")
    let optimizer = configuration.optimizer
    for (name, value) in [("beta1", optimizer.beta1), ("beta2", optimizer.beta2)] {
      try require((0..<1).contains(value), "--\(name) \(value) must be in [0, 1).")
    }
    for (name, value) in [("epsilon", optimizer.epsilon), ("weight-decay", optimizer.weightDecay)] {
      try require(
        value.isFinite && value >= 0, "--\(name) \(value) must be a nonnegative number.")
    }
  }
}

/// An invalid flag, value or combination.
struct UsageError: Error, CustomStringConvertible {
  /// One sentence: what is wrong; how to fix it.
  let description: String

  init(_ description: String) { self.description = description }
}

/// A YAML file of settings: `widen-factor: 4`, one per line, named like the flags.
enum ConfigurationFile {
  /// Converts a file to command-line arguments, so that one parser validates both.
  ///
  /// - Parameter path: A YAML mapping from flag names (`widen-factor`, `widen_factor` or `widenFactor`) to values.
  /// - Returns: `["--widen-factor", "4", …]` in the file's order.
  /// - Throws: ``UsageError`` if the file cannot be read or is not such a mapping.
  static func arguments(_ path: String) throws -> [String] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw UsageError("--config \(path) cannot be read; is the path right?")
    }
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch {
      let reason = "\(error)".split(separator: "\n").first.map(String.init) ?? "unreadable"
      throw UsageError("--config \(path) is not YAML: \(reason).")
    }
    guard let node else { return [] }
    guard let mapping = node.mapping else {
      throw UsageError("--config \(path) must be a mapping of flag names to values.")
    }
    return try mapping.flatMap { key, value in
      guard let name = key.string, let setting = value.scalar?.string else {
        throw UsageError("--config \(path) must have one scalar value per flag name.")
      }
      return value.null != nil && setting != "" && setting != "null"
        ? [] : (setting.isEmpty ? [] : ["--\(kebabCase(name))", setting])
    }
  }

  /// Returns settings as YAML, one per line.
  static func render(_ settings: [(name: String, value: String)]) throws -> String {
    let pairs = settings.map { (Node($0.name), Node($0.value)) }
    return try Yams.serialize(node: Node.mapping(Node.Mapping(pairs)))
  }

  private static func kebabCase(_ name: String) -> String {
    name.reduce(into: "") { result, character in
      if character == "_" {
        result += "-"
      } else if character.isUppercase {
        result += "-" + character.lowercased()
      } else {
        result.append(character)
      }
    }
  }
}
