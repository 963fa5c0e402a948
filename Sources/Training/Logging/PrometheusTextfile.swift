import Foundation

/// Gauges of a run in a file that Prometheus's node exporter collects (`--collector.textfile.directory`).
///
/// The file is replaced atomically. It has the text exposition format 0.0.4.
struct PrometheusTextfile {
  /// The seconds between two files; Prometheus usually reads every 15 to 60 s.
  static let interval = 10.0

  private let path: String
  private let label: String

  /// Verifies that the file can be written.
  ///
  /// - Parameters:
  ///   - path: The file, whose name must end in `.prom` to be collected.
  ///   - run: The run's directory, as the label of all gauges.
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  init(_ path: String, run: String) throws {
    self.path = path
    let escaped = run.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    label = "{run=\"\(escaped)\"}"
    try OutputFile.check(path)
  }

  /// Replaces the file.
  ///
  /// - Parameters:
  ///   - progress: The state of the run; gauges without a value are left out.
  ///   - time: The time of the last step, in seconds since 1970.
  /// - Throws: ``CheckpointError`` if it cannot be written.
  func write(_ progress: ProgressLine, time: Double) throws {
    try OutputFile.replace(path, with: text(progress, time: time))
  }

  /// Returns the contents of the file.
  func text(_ progress: ProgressLine, time: Double) -> String {
    let gauges: [(name: String, help: String, value: Double?)] = [
      ("step", "The last step done.", Double(progress.step)),
      ("steps", "The steps of the run.", Double(progress.steps)),
      ("epoch", "Passes over the training set.", progress.epoch),
      ("loss", "The loss of the last step.", progress.loss),
      ("accuracy_ratio", "The accuracy of the last evaluation, 0 to 1.", progress.accuracy),
      ("images_per_second", "The training speed.", progress.imagesPerSecond),
      (
        "communication_ratio", "The fraction of the time that rank 0 waits for other ranks.",
        progress.communicationShare
      ),
      ("remaining_seconds", "The predicted time until the last step.", progress.secondsLeft),
      ("last_step_timestamp_seconds", "The time of the last step, in seconds since 1970.", time),
    ]
    return gauges.map { name, help, value in
      guard let value, value.isFinite else { return "" }
      let metric = "wrn_dist_\(name)"
      return "# HELP \(metric) \(help)\n# TYPE \(metric) gauge\n\(metric)\(label) \(value)\n"
    }.joined()
  }
}
