import Tensors

/// The learning rate as a pure function of the step, so a resumed run needs no state for it.
///
/// Step s, from 1, has the rate peak · shape · warm-up. The shape is a function of the work done before the step: s − 1
/// steps or x = (s − 1) / stepsPerEpoch epochs. So the first step has the shape's first value, and the last step a value
/// just before the shape's end: a rate that ends at 0 wastes no step. Warm-up is min(1, s / (warmupEpochs ·
/// stepsPerEpoch)), linear from 0 before step 1, and multiplies whatever the shape is.
///
/// Computes in Double with `ReproducibleMath`, so the bits are the same on every machine.
public struct LearningRateSchedule: Sendable, Hashable {
  /// How the rate changes during a run.
  public enum Shape: Sendable, Hashable {
    /// The peak at every step.
    case constant
    /// The peak times `factor` for every milestone, in epochs, that is complete.
    ///
    /// As PyTorch's `MultiStepLR` stepped once per epoch. A rate that drops at the start of the 60th epoch has the
    /// milestone 59.
    case steps(milestones: [Double], factor: Double)
    /// Half a period of the cosine, from the peak to 0: (1 + cos(π(s − 1) / totalSteps)) / 2.
    ///
    /// As PyTorch's `CosineAnnealingLR` with `T_max = totalSteps`, stepped once per step (Loshchilov and Hutter,
    /// arXiv:1608.03983).
    case cosine
    /// From peak / 25 to the peak over the first 30 % of the steps, then to peak / 250,000, both along cosines.
    ///
    /// As PyTorch's `OneCycleLR` with its defaults, stepped once per step (Smith and Topin, arXiv:1708.07120). Its
    /// cycle of momentum is left out.
    case oneCycle
    /// Straight lines between points; the last point's factor holds after it.
    case points([Point])
  }

  /// A corner of ``Shape/points(_:)``.
  public struct Point: Sendable, Hashable {
    /// The number of epochs before it.
    public let epoch: Double
    /// The factor of the peak, at least 0.
    public let factor: Double

    /// Creates a point.
    public init(epoch: Double, factor: Double) {
      self.epoch = epoch
      self.factor = factor
    }
  }

  private let peak: Double
  private let shape: Shape
  private let warmupEpochs: Double
  private let stepsPerEpoch: Double
  private let totalSteps: Int

  /// Creates a schedule.
  ///
  /// - Parameters:
  ///   - peak: The learning rate that the shape's factors multiply, at least 0.
  ///   - shape: How the rate changes.
  ///   - warmupEpochs: The length of the warm-up in epochs, at least 0.
  ///   - stepsPerEpoch: The steps of one epoch; not necessarily whole.
  ///   - totalSteps: The steps of the run, at least 1. A resumed run must pass the same number.
  /// - Precondition: The numbers are in range, and ``Shape/validate(stepsPerEpoch:totalSteps:)`` accepts the shape.
  public init(peak: Double, shape: Shape, warmupEpochs: Double, stepsPerEpoch: Double, totalSteps: Int) {
    precondition(peak >= 0 && peak.isFinite, "a learning rate is finite and not negative")
    precondition(warmupEpochs >= 0 && warmupEpochs.isFinite, "a warm-up is finite and not negative")
    precondition(stepsPerEpoch > 0 && stepsPerEpoch.isFinite, "an epoch has steps")
    precondition(totalSteps >= 1, "a run has steps")
    precondition(
      (try? shape.validate(stepsPerEpoch: stepsPerEpoch, totalSteps: totalSteps)) != nil, "the shape must be valid")
    self.peak = peak
    self.shape = shape
    self.warmupEpochs = warmupEpochs
    self.stepsPerEpoch = stepsPerEpoch
    self.totalSteps = totalSteps
  }

  /// Creates the schedule of one rate for every step of any run.
  public static func constant(_ rate: Double) -> LearningRateSchedule {
    LearningRateSchedule(peak: rate, shape: .constant, warmupEpochs: 0, stepsPerEpoch: 1, totalSteps: 1)
  }

  /// Returns the rate of a step, from 1.
  ///
  /// After the last step the rate is that of the shape's end.
  ///
  /// - Precondition: `step` is at least 1.
  public func callAsFunction(_ step: Int) -> Double {
    precondition(step >= 1, "steps are counted from 1")
    let warmupSteps = warmupEpochs * stepsPerEpoch
    let warmup = Double(step) < warmupSteps ? Double(step) / warmupSteps : 1
    return peak * factor(Double(step - 1)) * warmup
  }

  /// The shape's factor after a number of complete steps.
  private func factor(_ completedSteps: Double) -> Double {
    let epochs = completedSteps / stepsPerEpoch
    switch shape {
    case .constant:
      return 1
    case .steps(let milestones, let factor):
      return ReproducibleMath.power(factor, milestones.count { $0 <= epochs })
    case .cosine:
      return Self.cosine(from: 1, to: 0, at: completedSteps / Double(totalSteps))
    case .oneCycle:
      return oneCycle(completedSteps)
    case .points(let points):
      guard let next = points.firstIndex(where: { $0.epoch > epochs }) else { return points[points.count - 1].factor }
      let (start, end) = (points[next - 1], points[next])
      return start.factor + (end.factor - start.factor) * ((epochs - start.epoch) / (end.epoch - start.epoch))
    }
  }

  /// PyTorch's two phases: the first ends, counted from 0, at step 0.3·total − 1, the second at step total − 1.
  private func oneCycle(_ completedSteps: Double) -> Double {
    let start = 1 / 25.0
    let (peakStep, lastStep) = (0.3 * Double(totalSteps) - 1, Double(totalSteps - 1))
    if completedSteps <= peakStep {
      return Self.cosine(from: start, to: 1, at: completedSteps / peakStep)
    }
    return Self.cosine(from: 1, to: start / 1e4, at: (completedSteps - peakStep) / (lastStep - peakStep))
  }

  /// Half a period of a cosine between two values; `position` is clamped to [0, 1].
  private static func cosine(from start: Double, to end: Double, at position: Double) -> Double {
    end + (start - end) / 2 * (1 + ReproducibleMath.cos(piTimes: min(1, max(0, position))))
  }
}
