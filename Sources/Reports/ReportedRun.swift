import Foundation
import Training

/// A run as far as its directory can be read: settings, logs, predictions and the newest checkpoint.
///
/// Nothing about a directory is trusted: what is missing, damaged or of another version becomes a sentence in ``notes``.
package struct ReportedRun {
  /// How far a run has come.
  enum Progress: Hashable {
    /// All steps are done.
    case finished
    /// A process writes to the directory.
    case running
    /// Some steps are missing, and no process writes.
    case incomplete
  }

  /// A checkpoint, as a report shows it.
  struct CheckpointFacts {
    /// The directory.
    let path: String
    /// The steps done.
    let step: Int
    /// The SHA-256 over all tensors of model and optimizer.
    let digest: String
    /// The hash that identifies the data set.
    let dataFingerprint: String
  }

  /// The run's directory.
  let directory: String
  /// The name in the report, unique among its runs.
  let name: String
  /// Every setting by its flag's name, in the order of `config.yaml`.
  let settings: [(name: String, value: String)]
  /// The contents of `run.json`; `nil` for runs of older programs.
  let description: RunDescription?
  /// The contents of `metrics.jsonl`.
  let metrics: MetricsFile
  /// The contents of `predictions.json`, or those of an evaluation for the report.
  var predictions: Predictions?
  /// The newest checkpoint.
  let checkpoint: Checkpoint?
  /// Facts about ``checkpoint``.
  let facts: CheckpointFacts?
  /// Whether a process writes to the directory.
  let isBeingWritten: Bool
  /// What is missing or damaged, one sentence each.
  var notes: [String]
  /// What the report could not do with the run, one sentence each.
  var remarks: [String] = []
  /// The seconds of training up to the end of each step, without evaluations and checkpoints; as long as the steps.
  let seconds: [Double]

  /// The value of a setting.
  func setting(_ name: String) -> String? { settings.first { $0.name == name }?.value }

  /// The last step done.
  var lastStep: Int { max(metrics.steps.last?.step ?? 0, metrics.evaluations.last?.step ?? 0, facts?.step ?? 0) }

  /// The steps that were asked for.
  var plannedSteps: Int? { setting("steps").flatMap { Int($0) } }

  /// How far the run has come.
  var progress: Progress {
    if let plannedSteps, lastStep >= plannedSteps { return .finished }
    return isBeingWritten ? .running : .incomplete
  }

  /// The network's name.
  var network: String {
    if let name = description?.network ?? checkpoint?.state?.network { return name }
    guard let depth = setting("depth"), let factor = setting("widen-factor") else { return "unknown" }
    return "WRN-\(depth)-\(factor)"
  }

  /// The images of one step.
  var batchSize: Int? { setting("batch-size").flatMap { Int($0) }.flatMap { (1...1 << 24).contains($0) ? $0 : nil } }

  /// The training images that are not held out; a guess from the settings for runs of older programs.
  var trainingCount: Int {
    if let description, description.trainingCount > 0 { return description.trainingCount }
    let all = setting("data") == "synthetic" ? 10_000 : 50_000
    return all - (setting("validation").flatMap { Int($0) }.flatMap { (0..<all).contains($0) ? $0 : nil } ?? 0)
  }

  /// The epochs of one step.
  var epochsPerStep: Double { Double(batchSize ?? 0) / Double(trainingCount) }

  /// The evaluations of some images and weights, by ascending steps.
  func evaluations(heldOut: Bool, average: Bool) -> [MetricsFile.Evaluation] {
    metrics.evaluations.filter { $0.isHeldOut == heldOut && $0.isAverage == average }
  }

  /// The evaluation to quote: the last one of the last step, test images before held-out ones, averaged weights before raw.
  var lastEvaluation: MetricsFile.Evaluation? {
    metrics.evaluations.max {
      ($0.step, $0.isHeldOut ? 0 : 1, $0.isAverage ? 1 : 0) < ($1.step, $1.isHeldOut ? 0 : 1, $1.isAverage ? 1 : 0)
    }
  }

  /// The mean training loss over the steps in a range; `nil` if one of them is missing or not finite.
  func meanLoss(of range: ClosedRange<Int>) -> Double? {
    let indices = stepIndices(range)
    guard indices.count == range.count else { return nil }
    let mean = metrics.steps[indices].reduce(0) { $0 + Double($1.loss) } / Double(indices.count)
    return mean.isFinite ? mean : nil
  }

  /// The seconds of training of the steps in a range; `nil` if one of them is missing.
  func trainingSeconds(of range: ClosedRange<Int>) -> Double? {
    let indices = stepIndices(range)
    guard indices.count == range.count, let last = indices.last, let first = indices.first else { return nil }
    return seconds[last] - (first > 0 ? seconds[first - 1] : 0)
  }

  /// The steps of the log in a range of step numbers, as indices.
  func stepIndices(_ range: ClosedRange<Int>) -> Range<Int> {
    func firstIndex(atLeast step: Int) -> Int {
      var (low, high) = (0, metrics.steps.count)
      while low < high {
        let middle = (low + high) / 2
        if metrics.steps[middle].step < step { low = middle + 1 } else { high = middle }
      }
      return low
    }
    return firstIndex(atLeast: range.lowerBound)..<firstIndex(atLeast: range.upperBound + 1)
  }

  /// The images per second over the whole run.
  var imagesPerSecond: Double? {
    guard let batchSize, let total = seconds.last, total > 0 else { return nil }
    return Double(batchSize * metrics.steps.count) / total
  }

  /// Ranks and threads of the last session: `4 ranks × 2 threads`.
  var ranksAndThreads: String? {
    guard let session = description?.sessions.last else { return nil }
    let threads = Set(session.hosts.flatMap(\.threads)).sorted()
    let count = threads.count > 1 ? "\(threads[0])–\(threads[threads.count - 1])" : "\(threads.first ?? 1)"
    let (ranks, hosts) = (session.rankCount, session.hosts.count)
    return "\(ranks) rank\(ranks == 1 ? "" : "s") × \(count) thread\(count == "1" ? "" : "s")"
      + (hosts > 1 ? " on \(hosts) hosts" : "")
  }
}
