import Foundation
import Support
import Tensors

/// A destination of a run's report lines: a terminal, a log file, a test.
public protocol Console: AnyObject {
  /// Writes a line.
  func write(_ line: String)
  /// Whether lines can be replaced: true for a terminal, false for a file.
  var isLive: Bool { get }
  /// Shows a line that the next one replaces; only if ``isLive``.
  func showLive(_ line: String)
}

/// Rank 0's output of a run: report lines, `metrics.jsonl`, TensorBoard files, checkpoints.
public final class RunLogger {
  let configuration: TrainingConfiguration
  let networkName: String
  let output: OutputDirectory
  let console: any Console
  private(set) var metrics: MetricLog
  private(set) var trainEvents: TensorBoardWriter
  private(set) var evalEvents: TensorBoardWriter
  private let trainingCount: Int
  let dataFingerprint: String
  let whitening: ParameterStore?
  let dataDigest: String?
  /// Writes checkpoints.
  let writer = CheckpointWriter()
  /// The step of the last checkpoint that was written; 0 if there is none.
  var savedStep = 0
  /// The seconds that the last checkpoint took; `nil` before the first.
  var checkpointSeconds: Double?
  /// The last checkpoint that could not be written, and why.
  var unsaved: (step: Int, reason: String)?
  /// The steps without an update so far.
  private(set) var skippedSteps: Int
  private var isLogFailing = false
  let clock = ContinuousClock()
  private let runStart: ContinuousClock.Instant
  var lastStep: ContinuousClock.Instant
  private var windowStart: ContinuousClock.Instant
  private var lastLive: ContinuousClock.Instant
  private var window = Window()
  private var lastEvaluation: (result: Evaluation.Result, label: EvaluationLabel)?
  private var firstStep = 1
  private var hasPeers = false

  /// The sums since the last report.
  private struct Window {
    var steps = 0
    var lossSum = 0.0
    var (stepSeconds, communicationSeconds) = (0.0, 0.0)
    var skippedSteps = 0
    var straggler = StragglerVote()
    var lastResult: TrainingStep.Result?
  }

  /// Opens the output files; `metrics.jsonl` of a resumed run is truncated after the completed steps.
  ///
  /// - Parameters:
  ///   - configuration: The run's settings.
  ///   - networkName: The network's name, for example `WRN-22-1`.
  ///   - output: The run's directory.
  ///   - completedSteps: The steps already done.
  ///   - trainingCount: The number of images of the training set.
  ///   - dataFingerprint: The hash that identifies the data set.
  ///   - dataDigest: The digests of all images.
  ///   - whitening: The whitening of the images, if there is one; checkpoints hold it.
  ///   - skippedSteps: The steps among those done that had no update.
  ///   - console: The destination of report lines.
  /// - Throws: ``CheckpointError`` if a file cannot be written.
  public init(
    _ configuration: TrainingConfiguration, networkName: String, output: OutputDirectory,
    completedSteps: Int, trainingCount: Int, dataFingerprint: String, dataDigest: String? = nil,
    whitening: ParameterStore? = nil, skippedSteps: Int = 0,
    console: any Console
  ) throws {
    self.skippedSteps = skippedSteps
    self.configuration = configuration
    self.networkName = networkName
    self.output = output
    self.console = console
    self.trainingCount = trainingCount
    self.dataFingerprint = dataFingerprint
    self.whitening = whitening
    self.dataDigest = dataDigest
    savedStep = completedSteps
    (metrics, trainEvents, evalEvents) = try Self.openLogs(configuration, output, completedSteps)
    runStart = clock.now
    lastStep = runStart
    windowStart = runStart
    lastLive = runStart
  }

  /// Reports the run's settings.
  ///
  /// Call it after all memory is planned, before the first step.
  ///
  /// - Parameters:
  ///   - layout: The description of ranks, threads and engine.
  ///   - worldSize: The number of ranks.
  ///   - plannedByteCount: The bytes that this rank planned.
  ///   - completedSteps: The steps already done.
  /// - Throws: ``CheckpointError`` if a file cannot be written.
  public func reportStart(
    layout: String, worldSize: Int, plannedByteCount: Int, completedSteps: Int
  ) throws {
    hasPeers = worldSize > 1
    let epochs = Double(configuration.steps * configuration.batchSize) / Double(trainingCount)
    console.write(
      "\(networkName), \(configuration.steps) steps of \(configuration.batchSize) images "
        + "(\(String(format: "%.1f", epochs)) epochs) in \(configuration.microbatches) microbatches")
    console.write(
      "\(layout), \(plannedByteCount >> 20) MiB planned per rank")
    console.write("output in \(output.path)")
    if completedSteps > 0 { console.write("resuming after step \(completedSteps)") }
    if metrics.damagedLineCount > 0 {
      console.write("warning: removed \(metrics.damagedLineCount) damaged line(s) of \(output.path("metrics.jsonl"))")
    }
    let settings = configuration.settings.map { "    \($0.name): \($0.value)" }
    try trainEvents.write(
      text: settings.joined(separator: "\n"), tag: "configuration", step: completedSteps + 1)
    firstStep = completedSteps + 1
    startWindow()
    lastStep = clock.now
  }

  /// Opens the logs of a run that has some steps.
  private static func openLogs(
    _ configuration: TrainingConfiguration, _ output: OutputDirectory, _ completedSteps: Int
  ) throws -> (MetricLog, TensorBoardWriter, TensorBoardWriter) {
    (
      try MetricLog(
        output.path("metrics.jsonl"), keepingStepsThrough: completedSteps,
        evaluationLineCount: configuration.evaluationLabels(after: completedSteps).count),
      try TensorBoardWriter(directory: output.path("train"), startingAfter: completedSteps),
      try TensorBoardWriter(directory: output.path("eval"), startingAfter: completedSteps)
    )
  }

  /// Cuts the logs back to a checkpoint's step, from which the run continues.
  ///
  /// - Throws: ``CheckpointError`` if a file cannot be written.
  func rollBack(to state: Checkpoint.State) throws {
    for file in [metrics.file, trainEvents.file, evalEvents.file] { try file.flush() }
    (metrics, trainEvents, evalEvents) = try Self.openLogs(configuration, output, state.step)
    skippedSteps = state.skippedSteps ?? 0
    savedStep = state.step
    startWindow()
  }

  /// Prints a warning.
  func warn(_ text: String) { console.write("warning: \(text)") }

  /// Warns once when a log cannot be written.
  private func reportLogFailure() {
    let failure = metrics.file.failure ?? trainEvents.file.failure ?? evalEvents.file.failure
    if let failure, !isLogFailing {
      warn(
        "\(failure.description.trimmingSuffix(".")); training continues, and the log is completed from memory when there is "
          + "room; no checkpoint is written until then.")
    }
    isLogFailing = failure != nil
  }

  /// Writes to the disk what the logs have in memory, at the end of the run.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput` if that fails.
  func finishLogs() throws {
    for log in [metrics.file, trainEvents.file, evalEvents.file] {
      try log.flush()
      try log.file.synchronize()
    }
  }

  /// Records a step; allocates nothing unless a terminal shows it.
  func record(_ result: TrainingStep.Result, step: Int, dataSeconds: Double) throws {
    let now = clock.now
    let rate = Double(configuration.batchSize) / (now - lastStep).seconds
    lastStep = now
    window.steps += 1
    if result.isSkipped {
      window.skippedSteps += 1
      skippedSteps += 1
    } else {
      window.lossSum += Double(result.loss)
    }
    if let straggler = result.straggler { window.straggler.record(straggler) }
    window.stepSeconds += result.stepSeconds
    window.communicationSeconds += result.communicationSeconds
    window.lastResult = result
    metrics.write(result, step: step, imagesPerSecond: Float(rate), dataSeconds: dataSeconds)
    settleCheckpoint(writer.poll())
    reportLogFailure()
    if console.isLive && (now - lastLive).seconds >= 0.5 {
      lastLive = now
      let perStep = (now - windowStart).seconds / Double(window.steps)
      console.showLive(
        TraxReport.live(
          step: step, of: configuration.steps, loss: result.loss,
          imagesPerSecond: Double(configuration.batchSize) / perStep,
          communicationShare: hasPeers ? window.communicationSeconds / window.stepSeconds : nil,
          straggler: window.straggler.result(steps: window.steps),
          secondsLeft: perStep * Double(configuration.steps - step)))
    }
  }

  /// Writes Trax's report lines and TensorBoard tags for the steps since the last report.
  func reportTraining(step: Int, model: ModelState) throws {
    guard let last = window.lastResult else { return }
    let seconds = (clock.now - windowStart).seconds
    let loss = window.lossSum / Double(window.steps - window.skippedSteps)
    if step == 1 {
      let count = model.graph.parameterCount
      TraxReport.weights(step: step, count: count).forEach(console.write)
    } else {
      console.write("")
    }
    console.write(TraxReport.ran(step: step, steps: window.steps, seconds: seconds))
    console.write(
      TraxReport.metric(step: step, task: "train", name: "CrossEntropyLoss", value: loss))
    if let straggler = window.straggler.result(steps: window.steps) {
      console.write(TraxReport.straggler(step: step, straggler))
    }
    if window.skippedSteps > 0 {
      console.write(TraxReport.skipped(step: step, count: window.skippedSteps, total: skippedSteps))
    }
    let weights = model.parameters.elements.reduce(0.0) { $0 + Double($1) * Double($1) }
    try trainEvents.write(
      [
        ("metrics/CrossEntropyLoss", Float(loss)),
        ("training/learning_rate", last.learningRate),
        ("training/steps per second", Float(Double(window.steps) / seconds)),
        ("training/gradients_l2", last.gradientNorm),
        ("training/weights_l2", Float(weights.squareRoot())),
        ("training/loss", Float(loss)),
      ], step: step)
  }

  /// Whether `metrics.jsonl` lacks the evaluation of the step after which the run resumes.
  func lacksEvaluation(of step: Int) -> Bool { metrics.evaluatedStep < step }

  /// Writes an evaluation's report lines and log entries.
  func record(_ result: Evaluation.Result, _ label: EvaluationLabel, step: Int) throws {
    // The last one is the one to quote: test images come after held-out ones, averaged weights after raw ones.
    lastEvaluation = (result, label)
    var values = [("CrossEntropyLoss", result.loss), ("Accuracy", result.accuracy)]
    if let accuracy = result.mirroredAccuracy { values.append(("MirroredAccuracy", accuracy)) }
    for (name, value) in values {
      console.write(TraxReport.metric(step: step, task: label.task, name: name, value: value))
    }
    metrics.write(result, label, step: step, statistics: configuration.evalStatistics.rawValue)
    try evalEvents.write(
      values.map { ("\(label.tagPrefix)metrics/\($0)", Float($1)) }, step: step)
  }

  /// Starts the next window, which excludes the time of evaluation and checkpoint.
  func startWindow() {
    window = Window()
    windowStart = clock.now
    lastStep = windowStart
  }

  /// Reports the run's result.
  public func reportEnd() {
    console.write("")
    let steps = configuration.steps - firstStep + 1
    if steps <= 0 && lastEvaluation == nil {
      console.write(
        "nothing to do: the run in \(output.path) has its \(firstStep - 1) steps already; "
          + "raise --steps to continue, or give another --output-dir.")
      return
    }
    let seconds = (clock.now - runStart).seconds
    var line = "done: \(max(steps, 0)) steps in \(String(format: "%.1f", seconds)) s"
    if let (result, label) = lastEvaluation {
      let confusion = result.mirroredConfusion ?? result.confusion
      let percent = String(format: "%.2f", 100 * Double(confusion.correctCount) / Double(confusion.exampleCount))
      line +=
        ", \(label.images.rawValue) accuracy \(percent) % (\(confusion.correctCount) of \(confusion.exampleCount) images, "
        + "\(configuration.evalStatistics.rawValue) statistics\(label.weights == .average ? ", averaged weights" : "")"
        + (result.mirroredConfusion == nil ? ")" : ", with mirror images)")
    }
    console.write(line)
    console.write("results are in \(output.path)")
  }
}

/// The lines of a report, in Trax's format (trax/supervised/training.py).
package enum TraxReport {
  /// The lines that Trax prints at step 1: a blank line and the number of weights.
  static func weights(step: Int, count: Int) -> [String] {
    ["", prefix(step) + "Total number of trainable weights: \(count)"]
  }

  /// `Step   1000: Ran 999 train steps in 450.67 secs`.
  static func ran(step: Int, steps: Int, seconds: Double) -> String {
    prefix(step) + "Ran \(steps) train steps in \(String(format: "%.2f", seconds)) secs"
  }

  /// `Step   1000: train CrossEntropyLoss |  1.51696503`: the task in 5 columns, the metric right-aligned in 16.
  static func metric(step: Int, task: String, name: String, value: Double) -> String {
    prefix(step) + "\(task.fitted(5)) \(name.rightAligned(16)) | \(String(format: "% .8f", value))"
  }

  /// `Step   1000: rank 3 computed 1.8 times as long as the median rank`.
  static func straggler(step: Int, _ straggler: (rank: Int, ratio: Double)) -> String {
    let ratio = String(format: "%.1f", straggler.ratio)
    return prefix(step) + "rank \(straggler.rank) computed \(ratio) times as long as the median rank"
  }

  /// `Step   1000: 2 steps without an update (3 in all)`.
  static func skipped(step: Int, count: Int, total: Int) -> String {
    prefix(step) + "\(count) step(s) without an update (\(total) in all)"
  }

  /// The line that a terminal shows between reports; at most 79 columns.
  ///
  /// - Parameters:
  ///   - step: The last step done.
  ///   - last: The last step of the run.
  ///   - loss: The loss of `step`.
  ///   - imagesPerSecond: The speed since the last report.
  ///   - communicationShare: The fraction of the time that this rank waited for others; `nil` with one rank.
  ///   - straggler: A rank that others wait for, shown in place of the share.
  ///   - secondsLeft: The predicted time until the last step.
  /// - Returns: The line.
  package static func live(
    step: Int, of last: Int, loss: Float, imagesPerSecond: Double, communicationShare: Double?,
    straggler: (rank: Int, ratio: Double)? = nil, secondsLeft: Double
  ) -> String {
    let left = Int(secondsLeft.rounded())
    let time = String(format: "%d:%02d:%02d", left / 3600, left / 60 % 60, left % 60)
    let numbers = String(format: "loss %.4f  %.0f img/s", loss, imagesPerSecond)
    let share =
      straggler.map { String(format: "  rank %d %.1fx slow", $0.rank, $0.ratio) }
      ?? communicationShare.map { String(format: "  %.0f %% communication", 100 * $0) } ?? ""
    return "step \(step)/\(last)  \(numbers)\(share)  \(time) left"
  }

  private static func prefix(_ step: Int) -> String {
    "Step \(String(step).rightAligned(6)): "
  }
}
