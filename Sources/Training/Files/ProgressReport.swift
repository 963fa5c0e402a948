import Foundation

/// The lines of a report, in Trax's form (trax/supervised/training.py).
package enum ProgressReport {
  /// The blank line and the line with the number of weights that Trax prints at step 1.
  static func weights(step: Int, count: Int) -> [String] {
    ["", prefix(step) + "Total number of trainable weights: \(count)"]
  }

  /// `Step   1000: Ran 999 train steps in 450.67 secs`.
  static func ran(step: Int, steps: Int, seconds: Double) -> String {
    prefix(step) + "Ran \(steps) train steps in \(String(format: "%.2f", seconds)) secs"
  }

  /// `Step   1000: train CrossEntropyLoss |  1.51696503`: the task in 5 columns, the metric right-aligned in 16.
  static func metric(step: Int, task: String, name: String, value: Double) -> String {
    let task = task.padding(toLength: 5, withPad: " ", startingAt: 0)
    let name = String(repeating: " ", count: max(0, 16 - name.count)) + name
    return prefix(step) + "\(task) \(name) | \(String(format: "% .8f", value))"
  }

  /// The line that a terminal shows between reports; at most 79 columns.
  ///
  /// - Parameters:
  ///   - step: The step that is done.
  ///   - last: The last step of the run.
  ///   - loss: Its loss.
  ///   - imagesPerSecond: The speed since the last report.
  ///   - communicationShare: The part of the time that this rank waited for others; nil where it is alone.
  ///   - secondsLeft: The time until the last step.
  /// - Returns: The line.
  package static func live(
    step: Int, of last: Int, loss: Float, imagesPerSecond: Double, communicationShare: Double?,
    secondsLeft: Double
  ) -> String {
    let left = Int(secondsLeft.rounded())
    let time = String(format: "%d:%02d:%02d", left / 3600, left / 60 % 60, left % 60)
    let numbers = String(format: "loss %.4f  %.0f img/s", loss, imagesPerSecond)
    let share = communicationShare.map { String(format: "  %.0f %% communication", 100 * $0) } ?? ""
    return "step \(step)/\(last)  \(numbers)\(share)  \(time) left"
  }

  private static func prefix(_ step: Int) -> String {
    let digits = String(step)
    return "Step " + String(repeating: " ", count: max(0, 6 - digits.count)) + digits + ": "
  }
}
