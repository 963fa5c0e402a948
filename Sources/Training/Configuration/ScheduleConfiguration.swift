import Optimizers

/// The choice of a learning-rate schedule, and its constants.
public struct ScheduleConfiguration: Sendable, Hashable {
  /// The schedules by name.
  public enum Name: String, Sendable, Codable, CaseIterable {
    /// The same rate at every step.
    case constant
    /// A lower rate after every milestone.
    case steps
    /// Half a cosine, down to 0.
    case cosine
    /// Up along a cosine, then down to almost 0.
    case oneCycle = "one-cycle"
    /// Straight lines between points.
    case points
  }

  /// The schedule.
  public var name = Name.constant
  /// The epochs after which ``Name/steps`` lowers the rate.
  public var milestones = [60.0, 120, 160]
  /// The factor of the rate at each milestone.
  public var decayFactor = 0.2
  /// The points of ``Name/points``.
  ///
  /// If `nil`, the rate rises from a fifth of the peak to the peak over the first 22 % of the run, then falls to 0. The
  /// shape is that of airbench94 (Jordan, arXiv 2404.00498), but ends at 0.
  public var points: [LearningRateSchedule.Point]?
  /// The epochs of linear warm-up.
  public var warmupEpochs = 0.0

  /// Creates a constant schedule.
  public init() {}

  /// Returns the shape for a run of some epochs.
  func shape(epochs: Double) -> LearningRateSchedule.Shape {
    switch name {
    case .constant: .constant
    case .steps: .steps(milestones: milestones, factor: decayFactor)
    case .cosine: .cosine
    case .oneCycle: .oneCycle
    case .points:
      .points(
        points ?? [
          LearningRateSchedule.Point(epoch: 0, factor: 0.2),
          LearningRateSchedule.Point(epoch: 0.22 * epochs, factor: 1),
          LearningRateSchedule.Point(epoch: epochs, factor: 0),
        ])
    }
  }

  /// Whether the rate of a step depends on the length of the run.
  var dependsOnSteps: Bool {
    switch name {
    case .constant, .steps: false
    case .cosine, .oneCycle: true
    case .points: points == nil
    }
  }

  /// `60,120,160`.
  var milestonesText: String { milestones.map(Self.text).joined(separator: ",") }

  /// `0:0,5:1,24:0`, or `triangle` for the default.
  var pointsText: String {
    points?.map { "\(Self.text($0.epoch)):\(Self.text($0.factor))" }.joined(separator: ",") ?? "triangle"
  }

  private static func text(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e9 ? String(Int(value)) : String(value)
  }
}
