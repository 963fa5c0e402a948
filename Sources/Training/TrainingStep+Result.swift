extension TrainingStep {
  /// The numbers that a step reports.
  public struct Result: Sendable {
    /// The mean loss over the global batch, before the update.
    public let loss: Float
    /// The learning rate of the update.
    public let learningRate: Float
    /// The Euclidean norm of the averaged gradient of all parameters.
    public let gradientNorm: Float
    /// Whether any rank has a stop request.
    public let stopRequested: Bool
    /// The seconds of the step that this rank waited for messages: communication that computation did not hide.
    public let communicationSeconds: Double
    /// The seconds of the whole step on this rank.
    public let stepSeconds: Double
    /// Whether loss, batch statistics and gradient are finite on all ranks.
    public let isFinite: Bool
    /// Whether the step has no update.
    public let isSkipped: Bool
    /// The rank that computed longest in the step before, and the median of all ranks; `nil` with one rank.
    public let straggler: ComputeTimes.Straggler?

    /// Creates a result.
    package init(
      loss: Float, learningRate: Float, gradientNorm: Float, stopRequested: Bool = false,
      communicationSeconds: Double = 0, stepSeconds: Double = 0, isFinite: Bool = true, isSkipped: Bool = false,
      straggler: ComputeTimes.Straggler? = nil
    ) {
      self.isFinite = isFinite
      self.isSkipped = isSkipped
      self.straggler = straggler
      self.loss = loss
      self.learningRate = learningRate
      self.gradientNorm = gradientNorm
      self.stopRequested = stopRequested
      self.communicationSeconds = communicationSeconds
      self.stepSeconds = stepSeconds
    }
  }
}
