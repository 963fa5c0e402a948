import Foundation
import Support
import Tensors

/// Rank 0's output of a run: report lines, `metrics.jsonl`, TensorBoard files, checkpoints.
public final class RunLogger {
  let configuration: TrainingConfiguration
  let networkName: String
  let output: OutputDirectory
  let console: any Console
  private(set) var metrics: MetricLog
  private(set) var trainEvents: TensorBoardWriter
  private(set) var evalEvents: TensorBoardWriter
  let trainingCount: Int
  let dataFingerprint: String
  let whitening: ParameterStore?
  let dataDigest: String?
  /// Writes checkpoints.
  let writer = CheckpointWriter()
  /// The step of the last checkpoint that was written; 0 if there is none.
  var savedStep = 0
  /// The seconds that the last complete checkpoint took; `nil` before the first.
  package internal(set) var checkpointSeconds: Double?
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
  private var lastEvent: ContinuousClock.Instant
  private var lastGauges: ContinuousClock.Instant
  private var activity: (name: String, start: ContinuousClock.Instant)?
  private var lastAccuracy: Double?
  private let extra: ExtraOutputs
  private let prometheus: PrometheusTextfile?
  /// The gauges that were written last, and the time of their step.
  private var lastProgress: (line: ProgressLine, time: Double)?
  private var hasGaugeWarning = false
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
  ///   - extra: Files on request.
  ///   - console: The destination of report lines.
  /// - Throws: ``CheckpointError`` if a file cannot be written.
  public init(
    _ configuration: TrainingConfiguration, networkName: String, output: OutputDirectory,
    completedSteps: Int, trainingCount: Int, dataFingerprint: String, dataDigest: String? = nil,
    whitening: ParameterStore? = nil, skippedSteps: Int = 0, extra: ExtraOutputs = ExtraOutputs(),
    console: any Console
  ) throws {
    self.skippedSteps = skippedSteps
    self.extra = extra
    self.configuration = configuration
    self.networkName = networkName
    self.output = output
    self.console = console
    self.trainingCount = trainingCount
    self.dataFingerprint = dataFingerprint
    self.whitening = whitening
    self.dataDigest = dataDigest
    prometheus = try extra.prometheusTextfile.map { try PrometheusTextfile($0, run: output.path) }
    savedStep = completedSteps
    (metrics, trainEvents, evalEvents) = try Self.openLogs(configuration, output, completedSteps, extra)
    runStart = clock.now
    lastStep = runStart
    windowStart = runStart
    lastLive = runStart
    lastEvent = runStart
    lastGauges = runStart
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
    var lines = [
      "\(networkName), \(configuration.steps) steps of \(configuration.batchSize) images "
        + "(\(String(format: "%.1f", epochs)) epochs) in \(configuration.microbatches) microbatches",
      "\(layout), \(plannedByteCount >> 20) MiB planned per rank",
      "output in \(output.path)",
    ]
    if completedSteps > 0 { lines.append("resuming after step \(completedSteps)") }
    console.report(
      RunEvent(
        "start",
        [
          "run": .text(output.path), "network": .text(networkName), "steps": .integer(configuration.steps),
          "completed_steps": .integer(completedSteps), "batch_size": .integer(configuration.batchSize),
          "ranks": .integer(worldSize), "layout": .text(layout), "planned_bytes_per_rank": .integer(plannedByteCount),
        ], lines: lines))
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
    _ configuration: TrainingConfiguration, _ output: OutputDirectory, _ completedSteps: Int, _ extra: ExtraOutputs
  ) throws -> (MetricLog, TensorBoardWriter, TensorBoardWriter) {
    let metrics = try MetricLog(
      output.path("metrics.jsonl"), keepingStepsThrough: completedSteps,
      evaluationLineCount: configuration.evaluationLabels(after: completedSteps).count)
    if extra.metricTable { try metrics.addTable(output.path("metrics.csv")) }
    return (
      metrics, try TensorBoardWriter(directory: output.path("train"), startingAfter: completedSteps),
      try TensorBoardWriter(directory: output.path("eval"), startingAfter: completedSteps)
    )
  }

  /// All logs.
  var logs: [LogFile] { metrics.files + [trainEvents.file, evalEvents.file] }

  /// Cuts the logs back to a checkpoint's step, from which the run continues.
  ///
  /// - Throws: ``CheckpointError`` if a log but the table is incomplete, or a file cannot be opened.
  package func rollBack(to state: Checkpoint.State) throws {
    // The table is made again from the log.
    for log in [metrics.file, trainEvents.file, evalEvents.file] { try log.flush() }
    (metrics, trainEvents, evalEvents) = try Self.openLogs(configuration, output, state.step, extra)
    skippedSteps = state.skippedSteps ?? 0
    savedStep = state.step
    startWindow()
  }

  /// Prints a warning.
  func warn(_ text: String) { console.write("warning: \(text)") }

  /// Warns once when a log cannot be written.
  private func reportLogFailure() {
    let failure = metrics.failure ?? trainEvents.file.failure ?? evalEvents.file.failure
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
    for log in logs {
      try log.flush()
      try log.file.synchronize()
    }
  }

  /// Records a step; allocates nothing unless a terminal shows it.
  package func record(_ result: TrainingStep.Result, step: Int, dataSeconds: Double) throws {
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
    try showProgress(step, result, now)
  }

  /// Shows the state of the run, wherever that is due; otherwise allocates nothing.
  private func showProgress(_ step: Int, _ result: TrainingStep.Result, _ now: ContinuousClock.Instant) throws {
    let isLineDue = console.isLive && (now - lastLive).seconds >= 0.5
    let isEventDue = console.progressInterval.map { (now - lastEvent).seconds >= $0 } ?? false
    let areGaugesDue =
      prometheus != nil
      && ((now - lastGauges).seconds >= PrometheusTextfile.interval || step == firstStep || step == configuration.steps)
    guard isLineDue || isEventDue || areGaugesDue else { return }
    let perStep = (now - windowStart).seconds / Double(window.steps)
    var progress = ProgressLine(step: step, of: configuration.steps)
    progress.epoch = Double(step * configuration.batchSize) / Double(trainingCount)
    progress.loss = Double(result.loss)
    progress.accuracy = lastAccuracy
    progress.imagesPerSecond = Double(configuration.batchSize) / perStep
    progress.communicationShare = hasPeers ? window.communicationSeconds / window.stepSeconds : nil
    progress.straggler = window.straggler.result(steps: window.steps).map { .init(rank: $0.rank, ratio: $0.ratio) }
    progress.secondsLeft = perStep * Double(configuration.steps - step)
    if isLineDue {
      lastLive = now
      console.showLive(progress.render(width: console.columns, bar: console.bar))
    }
    if isEventDue {
      lastEvent = now
      console.report(
        RunEvent(
          "progress",
          [
            "step": .integer(step), "steps": .integer(configuration.steps),
            "epoch": progress.epoch.map { .number($0) },
            "loss": progress.loss.map { .number($0) },
            "accuracy": progress.accuracy.map { .number($0) },
            "images_per_second": progress.imagesPerSecond.map { .number($0) },
            "communication_share": progress.communicationShare.map { .number($0) },
            "slow_rank": progress.straggler.map { .integer($0.rank) },
            "seconds_left": progress.secondsLeft.map { .number($0) },
          ]))
    }
    if areGaugesDue {
      lastGauges = now
      let time = TimeLimit.now()
      lastProgress = (progress, time)
      writeGauges(progress, time: time)
    }
  }

  /// Replaces the file of gauges; a failure is reported once and does not end the run.
  private func writeGauges(_ progress: ProgressLine, time: Double) {
    do { try prometheus?.write(progress, time: time) } catch {
      if !hasGaugeWarning { console.write("warning: \(error)") }
      hasGaugeWarning = true
    }
  }

  /// Shows an activity between steps on a terminal, from 2 s after its start.
  ///
  /// - Parameters:
  ///   - name: The activity, such as `evaluation`.
  ///   - done: The finished parts; 0 at its start.
  ///   - total: All parts. If `nil`, their number is unknown.
  func showActivity(_ name: String, _ done: Int, of total: Int?) {
    guard console.isLive else { return }
    let now = clock.now
    if activity?.name != name || done == 0 { activity = (name, now) }
    guard let start = activity?.start, (now - start).seconds >= 2, (now - lastLive).seconds >= 0.5 else { return }
    lastLive = now
    console.showLive(
      ActivityLine.render(
        name, done: done, of: total, seconds: (now - start).seconds, width: console.columns, bar: console.bar))
  }

  /// Writes Trax's report lines and TensorBoard tags for the steps since the last report.
  package func reportTraining(step: Int, model: ModelState) throws {
    guard let last = window.lastResult else { return }
    let seconds = (clock.now - windowStart).seconds
    let loss = window.lossSum / Double(window.steps - window.skippedSteps)
    var lines = step == 1 ? TraxReport.weights(step: step, count: model.graph.parameterCount) : [""]
    lines += [
      TraxReport.ran(step: step, steps: window.steps, seconds: seconds),
      TraxReport.metric(step: step, task: "train", name: "CrossEntropyLoss", value: loss),
    ]
    let straggler = window.straggler.result(steps: window.steps)
    if let straggler { lines.append(TraxReport.straggler(step: step, straggler)) }
    if window.skippedSteps > 0 {
      lines.append(TraxReport.skipped(step: step, count: window.skippedSteps, total: skippedSteps))
    }
    console.report(
      RunEvent(
        "train",
        [
          "step": .integer(step), "steps_since_report": .integer(window.steps), "seconds": .number(seconds),
          "loss": .number(loss), "learning_rate": .number(Double(last.learningRate)),
          "images_per_second": .number(Double(window.steps * configuration.batchSize) / seconds),
          "skipped_steps": window.skippedSteps > 0 ? .integer(window.skippedSteps) : nil,
          "skipped_steps_total": window.skippedSteps > 0 ? .integer(skippedSteps) : nil,
          "slow_rank": straggler.map { .integer($0.rank) }, "slow_ratio": straggler.map { .number($0.ratio) },
        ], lines: lines))
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
    lastAccuracy = result.mirroredAccuracy ?? result.accuracy
    console.report(
      RunEvent(
        "evaluation",
        [
          "step": .integer(step), "images": .text(label.images.rawValue), "weights": .text(label.weights.rawValue),
          "loss": .number(result.loss), "accuracy": .number(result.accuracy),
          "mirrored_accuracy": result.mirroredAccuracy.map { .number($0) }, "examples": .integer(result.exampleCount),
        ], lines: values.map { TraxReport.metric(step: step, task: label.task, name: $0, value: $1) }))
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
    let steps = configuration.steps - firstStep + 1
    if steps <= 0 && lastEvaluation == nil {
      console.write("")
      console.write(
        "nothing to do: the run in \(output.path) has its \(firstStep - 1) steps already; "
          + "raise --steps to continue, or give another --output-dir.")
      return
    }
    if var last = lastProgress {
      last.line.accuracy = lastAccuracy
      writeGauges(last.line, time: last.time)
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
    console.report(
      RunEvent(
        "end",
        [
          "run": .text(output.path), "steps": .integer(max(steps, 0)), "seconds": .number(seconds),
          "accuracy": lastAccuracy.map { .number($0) },
        ], lines: ["", line, "results are in \(output.path)"]))
  }
}
