import Support

/// The positions in the endless order of images that each step uses; a pure function of the step.
///
/// Position p belongs to epoch p / count. With ``LastBatch/carry`` batches follow each other without a gap, and a batch may
/// cross the end of an epoch. With ``LastBatch/drop`` an epoch has ⌊count / batchSize⌋ whole batches, and its remaining
/// positions are skipped; with a new permutation per epoch these are other images each time.
public struct EpochMapping: Sendable, Hashable {
  /// The number of training images.
  public let count: Int
  /// The images per step.
  public let batchSize: Int
  /// The treatment of an epoch's last images.
  public let lastBatch: LastBatch
  private let skippedBatches: Int

  /// Creates a mapping.
  ///
  /// - Parameters:
  ///   - count: The number of training images.
  ///   - batchSize: The images per step.
  ///   - lastBatch: The treatment of an epoch's last images.
  ///   - skippedBatches: The batches before that of step 1.
  /// - Precondition: `count` and `batchSize` are positive. With ``LastBatch/drop`` an epoch has at least one batch.
  public init(count: Int, batchSize: Int, lastBatch: LastBatch, skippedBatches: Int = 0) {
    precondition(count > 0 && batchSize > 0, "images and batch size must be positive")
    precondition(lastBatch == .carry || batchSize <= count, "an epoch needs at least one whole batch")
    self.count = count
    self.batchSize = batchSize
    self.lastBatch = lastBatch
    self.skippedBatches = skippedBatches
  }

  /// The number of steps per epoch; a whole number with ``LastBatch/drop``.
  public var stepsPerEpoch: Double {
    switch lastBatch {
    case .carry: Double(count) / Double(batchSize)
    case .drop: Double(count / batchSize)
    }
  }

  /// Returns the position at which the global batch of a step starts; steps count from 1.
  public func firstPosition(step: Int) -> Int {
    let batch = step - 1 + skippedBatches
    switch lastBatch {
    case .carry: return batch * batchSize
    case .drop:
      let batches = count / batchSize
      return batch / batches * count + batch % batches * batchSize
    }
  }

  /// Returns the epoch of a step's first image, from 0.
  public func epoch(step: Int) -> Int { firstPosition(step: step) / count }

  /// Returns the least number of steps that covers a number of epochs.
  public func steps(epochs: Int) -> Int {
    switch lastBatch {
    case .carry: (epochs * count).dividedRoundingUp(by: batchSize)
    case .drop: epochs * (count / batchSize)
    }
  }
}

/// The treatment of the images at an epoch's end that fill no whole batch.
public enum LastBatch: String, Codable, CaseIterable, Sendable {
  /// They start a batch that the next epoch's first images complete.
  case carry
  /// They are skipped: `drop_last` of PyTorch.
  case drop
}
