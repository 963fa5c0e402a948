import Collectives
import Tracing

extension Trainer {
  /// Collective: evaluates after the last step done if a run that was killed or stopped there has not.
  ///
  /// - Returns: Whether nothing is missing; false after a stop request.
  func completeEvaluation(after step: Int) throws -> Bool {
    guard evaluation != nil, step > 0, step == configuration.steps || isReportStep(step) else { return true }
    var isMissing: UInt8 = logger?.lacksEvaluation(of: step) == true ? 1 : 0
    try withUnsafeMutableBytes(of: &isMissing) { try communicator.broadcast($0, root: 0) }
    guard isMissing != 0 else { return true }
    defer { logger?.startWindow() }
    return try evaluate(after: step, isSaved: true)
  }

  /// Collective: evaluates and reports; returns false if a stop request interrupted it on any rank.
  func evaluate(after step: Int, isSaved: Bool) throws -> Bool {
    let start = tracer.now()
    activity.enter(.evaluation)
    fault?.strike(.evaluation, rank: communicator.rank, step: step)
    defer { tracer.record(traceLabels.evaluation, since: start) }
    let evaluated: Evaluated
    do { evaluated = try evaluateAll(step) } catch is Evaluation.Interrupted { return false }
    // Before the last line: a run that is killed in between evaluates again, and then judges the checkpoint.
    let accuracy = configuration.keepsBest ? evaluated.validationAccuracy : nil
    let isBest = try accuracy.map { try keepIfBest(step, $0, isSaved: isSaved) } ?? false
    if let (result, label) = evaluated.last { try logger?.record(result, label, step: step) }
    if let accuracy, isBest { logger?.reportBest(step: step, accuracy: accuracy) }
    return true
  }

  /// The end of an evaluation that is complete.
  private struct Evaluated {
    /// The last part, which is not recorded yet.
    var last: (result: Evaluation.Result, label: EvaluationLabel)?
    /// The accuracy on the held-out images of the weights that are evaluated last; `nil` if none are held out.
    var validationAccuracy: Double?
  }

  /// Collective: evaluates the weights after a step, and their average if there is one.
  ///
  /// It records predictions and all parts but the last.
  private func evaluateAll(_ number: Int) throws -> Evaluated {
    var evaluated = Evaluated()
    guard let evaluation else { return evaluated }
    let labels = configuration.evaluationLabels(after: number)
    _ = try refreshAverage(number)
    func evaluate(_ weights: EvaluatedWeights) throws {
      for label in labels where label.weights == weights {
        let result: Evaluation.Result
        if label.images == .validation, let validation {
          result = try evaluation(of: validation, index: 0)
          evaluated.validationAccuracy = result.mirroredAccuracy ?? result.accuracy
        } else {
          let index = evaluationIndex(number)
          // A few hundred KiB, allocated when the steps are done: a report shows the predictions of the last evaluation.
          let logits = number == configuration.steps ? evaluation.makeLogits() : nil
          result = try evaluation(index: index, logits: logits?.pointer)
          if let logger, let logits {
            try logger.record(evaluation.predictions(logits: logits, index: index, step: number, weights: weights))
          }
        }
        if label == labels.last {
          evaluated.last = (result, label)
        } else {
          try logger?.record(result, label, step: number)
        }
      }
    }
    try withFittingStatistics(number) { try evaluate(.raw) }
    if let average, labels.contains(where: { $0.weights == .average }) {
      fault?.strikeBetweenEvaluations(rank: communicator.rank, step: number)
      try average.inPlaceOfModel { try evaluate(.average) }
    }
    return evaluated
  }

  /// Collective: calls a body with running statistics that fit images of full size, and restores them afterwards.
  ///
  /// With momentum 0.9 the statistics of another size are forgotten after 100 steps: 0.9¹⁰⁰ = 3e-5.
  private func withFittingStatistics(_ number: Int, _ body: () throws -> Void) throws {
    guard configuration.evalStatistics == .running, let estimation, let savedStatistics,
      configuration.resolution.hasChanged(within: 100, before: number, of: configuration.steps)
    else { return try body() }
    savedStatistics.copy(from: model.runningStatistics)
    defer { model.runningStatistics.copy(from: savedStatistics) }
    try estimation(trainingStep)
    try body()
  }

  /// The number of evaluations before the one at `step`.
  ///
  /// It depends on the step alone, so a resumed run continues in the test stream.
  private func evaluationIndex(_ step: Int) -> Int {
    let interval = configuration.evalEvery
    if step == 1 { return 0 }
    // Step 1 has an extra evaluation unless every step has one.
    let before = (step - 1) / interval
    return interval == 1 ? before : before + 1
  }
}
