import Foundation
import Support

/// The live line of a run, fitted to the width of a terminal.
///
/// A pure function of its values and the width, so that tests need no terminal.
public struct ProgressLine: Sendable, Hashable {
  /// The characters of a progress bar.
  public enum Bar: Sendable, Hashable {
    /// `[####----]`, for terminals without UTF-8.
    case ascii
    /// `━━━━────`.
    case blocks

    /// Renders a bar.
    ///
    /// - Parameters:
    ///   - fraction: The filled part, 0 … 1; values outside are clamped.
    ///   - width: The columns, at least 3.
    /// - Returns: Exactly `width` characters.
    public func render(_ fraction: Double, width: Int) -> String {
      let clamped = fraction.isFinite ? min(max(fraction, 0), 1) : 0
      switch self {
      case .ascii:
        let filled = Int(clamped * Double(width - 2))
        return "[" + String(repeating: "#", count: filled) + String(repeating: "-", count: width - 2 - filled) + "]"
      case .blocks:
        let filled = Int(clamped * Double(width))
        return String(repeating: "━", count: filled) + String(repeating: "─", count: width - filled)
      }
    }
  }

  /// The last step done.
  public var step: Int
  /// The steps of the run.
  public var steps: Int
  /// The passes over the training set so far.
  public var epoch: Double?
  /// The loss of the last step.
  public var loss: Double?
  /// The accuracy of the last evaluation, 0 … 1.
  public var accuracy: Double?
  /// The speed.
  public var imagesPerSecond: Double?
  /// The fraction of the time that rank 0 waits for other ranks; `nil` with one rank.
  public var communicationShare: Double?
  /// A rank that others wait for, shown in place of the share.
  public var straggler: Straggler?
  /// The predicted time until the last step.
  public var secondsLeft: Double?

  /// A rank that computes clearly longer than the others.
  public struct Straggler: Sendable, Hashable {
    /// The rank.
    public let rank: Int
    /// Its computing time, in units of the median rank's.
    public let ratio: Double
  }

  /// Creates a line without the values that are not known yet.
  public init(step: Int, of steps: Int) {
    self.step = step
    self.steps = steps
  }

  /// Renders the line.
  ///
  /// What does not fit is left out: first the share of communication, then epoch, bar, accuracy, speed, time left, loss.
  ///
  /// - Parameters:
  ///   - width: The columns of the terminal.
  ///   - bar: The characters of the bar.
  /// - Returns: Fewer than `width` characters, so that no terminal wraps the line.
  public func render(width: Int, bar: Bar = .ascii) -> String {
    let available = max(0, width - 1)
    let isNarrow = width < 50
    let gap = isNarrow ? " " : "  "
    let fraction = Double(step) / Double(max(1, steps))
    let count = "\(step)/\(steps)"
    var parts: [Position: String] = [.step: isNarrow ? count : "step \(count)"]
    if count.count > available { return String("\(Int(100 * fraction))%".prefix(available)) }
    var left = available - parts.values.reduce(0) { $0 + $1.count }
    func add(_ position: Position, _ text: String?) {
      guard let text, text.count + gap.count <= left else { return }
      parts[position] = text
      left -= text.count + gap.count
    }
    add(.loss, loss.map { String(format: isNarrow ? "%.2f" : "loss %.4f", $0) })
    add(.left, secondsLeft.map { isNarrow ? Self.duration($0) : "\(Self.duration($0)) left" })
    add(.speed, imagesPerSecond.map { String(format: "%.0f img/s", $0) })
    add(.accuracy, accuracy.map { String(format: "accuracy %.1f %%", 100 * $0) })
    let reserved = left
    left -= gap.count + 10
    add(.epoch, epoch.map { String(format: "epoch %.1f", $0) })
    add(.communication, straggler.map { String(format: "rank %d %.1fx slow", $0.rank, $0.ratio) })
    if straggler == nil {
      add(.communication, communicationShare.map { String(format: "%.0f %% communication", 100 * $0) })
    }
    let columns = left + 10
    if reserved >= gap.count + 10, columns >= 10 { parts[.bar] = bar.render(fraction, width: min(columns, 30)) }
    return Position.allCases.compactMap { parts[$0] }.joined(separator: gap)
  }

  /// Formats seconds: `0:42`, `12:05`, `3:02:41`.
  public static func duration(_ seconds: Double) -> String {
    let whole = seconds.isFinite ? Int(min(max(seconds, 0), 1e9).rounded()) : 0
    let (hours, minutes) = (whole / 3600, whole / 60 % 60)
    return hours > 0
      ? String(format: "%d:%02d:%02d", hours, minutes, whole % 60) : String(format: "%d:%02d", minutes, whole % 60)
  }

  /// The order of the parts from left to right.
  private enum Position: CaseIterable { case bar, step, epoch, loss, accuracy, speed, communication, left }
}

/// The live line of an activity between steps: evaluation, checkpoint, reading of data.
public enum ActivityLine {
  /// Renders the line.
  ///
  /// - Parameters:
  ///   - name: The activity.
  ///   - done: Its finished parts.
  ///   - total: All parts. If `nil`, their number is unknown and no bar is shown.
  ///   - seconds: The time since its start.
  ///   - width: The columns of the terminal.
  ///   - bar: The characters of the bar.
  /// - Returns: Fewer than `width` characters.
  public static func render(
    _ name: String, done: Int, of total: Int?, seconds: Double, width: Int, bar: ProgressLine.Bar = .ascii
  ) -> String {
    let available = max(0, width - 1)
    var parts = [name]
    var left = available - name.count
    func add(_ text: String, at index: Int) {
      guard text.count + 2 <= left else { return }
      parts.insert(text, at: min(index, parts.count))
      left -= text.count + 2
    }
    add(ProgressLine.duration(seconds), at: 1)
    if let total, total > 0 {
      add("\(done)/\(total)", at: 1)
      if left >= 12 { add(bar.render(Double(done) / Double(total), width: min(left - 2, 30)), at: 1) }
    }
    return String(parts.joined(separator: "  ").prefix(available))
  }
}
