/// A learning rate schedule that cannot be.
public struct InvalidSchedule: Error, Hashable, CustomStringConvertible {
  /// One sentence: which value is wrong and what it may be.
  public let description: String

  init(_ description: String) { self.description = description }
}

extension LearningRateSchedule.Shape {
  /// Parses milestones such as `60,120,160`, in epochs.
  ///
  /// - Returns: The milestones.
  /// - Throws: ``InvalidSchedule`` unless they are positive numbers in increasing order.
  public static func parseMilestones(_ text: String) throws -> [Double] {
    let milestones = try text.split(separator: ",", omittingEmptySubsequences: false).map { word in
      try number(word, in: text, like: "60,120,160")
    }
    try validate(milestones: milestones)
    return milestones
  }

  /// Parses points such as `0:0,5:1,24:0`: pairs of an epoch and a factor of the peak.
  ///
  /// - Returns: The points.
  /// - Throws: ``InvalidSchedule`` unless their epochs increase from 0 and no factor is negative.
  public static func parsePoints(_ text: String) throws -> [LearningRateSchedule.Point] {
    let example = "0:0,5:1,24:0"
    let points = try text.split(separator: ",", omittingEmptySubsequences: false).map { pair in
      let words = pair.split(separator: ":", omittingEmptySubsequences: false)
      guard words.count == 2 else {
        throw InvalidSchedule("\(pair) in \(text) is not epoch:factor; write points like \(example).")
      }
      return LearningRateSchedule.Point(
        epoch: try number(words[0], in: text, like: example), factor: try number(words[1], in: text, like: example))
    }
    try validate(points: points)
    return points
  }

  private static func number(_ word: Substring, in text: String, like example: String) throws -> Double {
    guard let value = Double(word), value.isFinite else {
      throw InvalidSchedule("\"\(word)\" in \"\(text)\" is not a number; write numbers like \(example).")
    }
    return value
  }

  /// Checks the shape against a run's length.
  ///
  /// - Parameters:
  ///   - stepsPerEpoch: The steps of one epoch.
  ///   - totalSteps: The steps of the run.
  /// - Throws: ``InvalidSchedule`` if milestones or points are out of order, or if points end before the last step.
  public func validate(stepsPerEpoch: Double, totalSteps: Int) throws {
    switch self {
    case .constant, .cosine, .oneCycle: break
    case .steps(let milestones, let factor):
      try Self.validate(milestones: milestones)
      guard factor > 0 && factor.isFinite else {
        throw InvalidSchedule("A factor of \(factor) per milestone is impossible; use a positive one, such as 0.2.")
      }
    case .points(let points):
      try Self.validate(points: points)
      // The last step must not come after the last point: in steps, so that a run of 7 epochs may round them up.
      let epochs = Double(totalSteps) / stepsPerEpoch
      guard let last = points.last, Double(totalSteps - 1) <= last.epoch * stepsPerEpoch else {
        throw InvalidSchedule(
          "The last point is at epoch \(points.last?.epoch ?? 0), but the run has \(epochs) epochs; "
            + "add a point at its end.")
      }
    }
  }

  static func validate(milestones: [Double]) throws {
    guard let first = milestones.first, first > 0 else {
      throw InvalidSchedule("The first milestone is not positive; write numbers of epochs, such as 60,120,160.")
    }
    for (previous, next) in zip(milestones, milestones.dropFirst()) where next <= previous {
      throw InvalidSchedule("Milestone \(next) follows \(previous); write milestones in increasing order.")
    }
    guard milestones.allSatisfy(\.isFinite) else {
      throw InvalidSchedule("A milestone is not finite; write numbers of epochs, such as 60,120,160.")
    }
  }

  static func validate(points: [LearningRateSchedule.Point]) throws {
    guard let first = points.first, first.epoch == 0 else {
      throw InvalidSchedule("The first point is not at epoch 0; write points like 0:0,5:1,24:0.")
    }
    for (previous, next) in zip(points, points.dropFirst()) where !(next.epoch > previous.epoch) {
      throw InvalidSchedule(
        "The point at epoch \(next.epoch) follows one at \(previous.epoch); write points in increasing order.")
    }
    for point in points where !(point.factor >= 0 && point.factor.isFinite && point.epoch.isFinite) {
      throw InvalidSchedule(
        "The factor \(point.factor) at epoch \(point.epoch) is impossible; use finite factors of at least 0.")
    }
  }
}
