import Foundation
import Training

extension ReportedRun {
  /// Reads a run's directory.
  ///
  /// - Parameters:
  ///   - directory: The run's directory; it is not changed.
  ///   - name: The name in the report.
  package init(_ directory: String, name: String) {
    self.directory = directory
    self.name = name
    var notes: [String] = []
    description = RunDescription.read(directory)
    if description == nil, Self.exists(directory, RunDescription.fileName) {
      notes.append("run.json is damaged or of a newer program; hosts, command and version are unknown.")
    }
    metrics = MetricsFile("\(directory)/metrics.jsonl")
    predictions = Predictions.read(directory)
    if predictions == nil, Self.exists(directory, Predictions.fileName) {
      notes.append("predictions.json is damaged or of a newer program, and is not used.")
    }
    if case .held = RunLease.observe(directory) { isBeingWritten = true } else { isBeingWritten = false }
    let opened = Self.openCheckpoint(directory, &notes)
    checkpoint = opened?.0
    facts = opened?.1
    settings = Self.readSettings(directory, checkpoint, &notes)
    let batchSize = settings.first { $0.name == "batch-size" }.flatMap { Double($0.value) } ?? 0
    var total = 0.0
    seconds = metrics.steps.map { step in
      let duration = batchSize / Double(step.imagesPerSecond)
      if duration.isFinite && duration > 0 { total += duration }
      return total
    }
    self.notes = notes
    self.notes += logNotes
  }

  /// What the logs lack.
  private var logNotes: [String] {
    var notes: [String] = []
    if metrics.damagedLineCount > 0 {
      notes.append("\(metrics.damagedLineCount) damaged line(s) of metrics.jsonl were skipped.")
    }
    if metrics.steps.isEmpty { notes.append("metrics.jsonl has no steps yet.") }
    if let first = metrics.steps.first?.step, let last = metrics.steps.last?.step {
      let missing = last - first + 1 - metrics.steps.count + (first - 1)
      if missing > 0 { notes.append("metrics.jsonl lacks \(missing) of \(last) steps.") }
    }
    switch progress {
    case .finished: break
    case .running:
      notes.append("The run is still going: step \(lastStep)\(plannedSteps.map { " of \($0)" } ?? "").")
    case .incomplete:
      notes.append(
        plannedSteps.map { "The run has stopped after step \(lastStep) of \($0)." }
          ?? "The number of its steps is unknown; the last one here is \(lastStep).")
    }
    if metrics.hasPartialLine && progress == .finished {
      notes.append("The last line of metrics.jsonl is incomplete and was skipped.")
    }
    return notes
  }

  private static func exists(_ directory: String, _ name: String) -> Bool {
    FileManager.default.fileExists(atPath: "\(directory)/\(name)")
  }

  private static func openCheckpoint(_ directory: String, _ notes: inout [String]) -> (Checkpoint, CheckpointFacts)? {
    do {
      let (checkpoint, warnings) = try OutputDirectory.latestCheckpoint(in: directory)
      notes += warnings.map { $0.hasSuffix(".") ? $0 : $0 + "." }
      guard let checkpoint, let state = checkpoint.state else {
        notes.append("There is no checkpoint yet.")
        return nil
      }
      let facts = CheckpointFacts(
        path: checkpoint.path, step: state.step, digest: try checkpoint.digest(), dataFingerprint: state.dataFingerprint
      )
      return (checkpoint, facts)
    } catch {
      notes.append("No checkpoint can be read: \(error)")
      return nil
    }
  }

  /// The settings of `config.yaml`, or of the checkpoint if that cannot be read.
  private static func readSettings(
    _ directory: String, _ checkpoint: Checkpoint?, _ notes: inout [String]
  ) -> [(name: String, value: String)] {
    let text = try? String(contentsOfFile: "\(directory)/config.yaml", encoding: .utf8)
    if let settings = text.flatMap(SettingsFile.settings), !settings.isEmpty { return settings }
    let saved = (checkpoint?.state?.configuration ?? [:]).sorted { $0.key < $1.key }.map {
      (name: $0.key, value: $0.value)
    }
    let reason = text == nil ? "There is no config.yaml" : "config.yaml is damaged"
    notes.append(
      saved.isEmpty ? "\(reason), so the settings are unknown." : "\(reason); the settings are those of the checkpoint."
    )
    return saved
  }
}
