import Foundation
import Support

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

  private static func prefix(_ step: Int) -> String {
    "Step \(String(step).rightAligned(6)): "
  }
}
