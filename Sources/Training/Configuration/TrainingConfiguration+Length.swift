extension TrainingConfiguration {
  /// Computes ``steps`` from ``epochs``, and checks the settings that depend on the size of the training set.
  ///
  /// - Parameter count: The images of the training set, held-out ones included.
  /// - Throws: ``InvalidSetting`` if the images that are not held out fill no batch, `InvalidSchedule` if the learning rate
  ///   does not fit the length of the run.
  public mutating func completeLength(trainingCount count: Int) throws {
    guard validation == 0 || count - validation >= batchSize else {
      throw InvalidSetting(
        "--validation \(validation) leaves \(max(0, count - validation)) of \(count) training images, less than one batch "
          + "of \(batchSize); hold out at most \(max(0, count - batchSize)).")
    }
    guard lastBatch == .carry || count >= batchSize else {
      throw InvalidSetting(
        "--last-batch drop needs at least one whole batch per epoch, but --batch-size \(batchSize) exceeds the \(count) "
          + "training images; lower it, or use --last-batch carry.")
    }
    if let epochs { steps = epochMapping(trainingCount: count - validation).steps(epochs: epochs) }
    _ = try learningRateSchedule(trainingCount: count - validation)
  }

  /// Returns the lines of `metrics.jsonl` that a complete evaluation after the last step has.
  ///
  /// - Parameter steps: The steps of the whole run.
  /// - Returns: One per set of images and of weights; 0 if the run does not evaluate.
  public func lastEvaluationLineCount(steps: Int) -> Int {
    var configuration = self
    configuration.steps = steps
    return configuration.evaluationLabels(after: steps).count
  }
}
