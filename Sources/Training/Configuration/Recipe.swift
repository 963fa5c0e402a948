import Datasets
import Models

extension TrainingConfiguration {
  /// A set of defaults that belong together; every flag can follow.
  public enum Recipe: String, Sendable, Codable, CaseIterable {
    /// Trax's "illustrated WideResnet": raw pixels, Adam at a constant 0.01, a 1,024-slot shuffle queue.
    case trax
    /// The Wide ResNet paper's: WRN-28-10, SGD with Nesterov momentum, 200 epochs, a rate that falls in steps.
    case paper
    /// 94 % on CIFAR-10 within the hour on two cores: WRN-16-4, growing images, averaged weights.
    case fast
  }

  /// Creates the defaults of a recipe.
  public init(recipe: Recipe) {
    self.init()
    self.recipe = recipe
    switch recipe {
    case .trax: break
    case .paper: setPaperDefaults()
    case .fast: setFastDefaults()
    }
  }

  /// What all recipes but Trax's share.
  private mutating func setCommonDefaults() {
    architecture = .wrn
    initialization = Initialization(weights: .fanIn)
    shuffle = .epoch
    lastBatch = .drop
    normalize = .meanStd
    optimizer.name = .sgd
    optimizer.weightDecay = 5e-4
    evalBatches = .all
    evalStatistics = .running
  }

  /// Zagoruyko and Komodakis (arXiv 1605.07146, section 3) and their `train.lua`.
  private mutating func setPaperDefaults() {
    setCommonDefaults()
    depth = 28
    widenFactor = 10
    initialization.scale = .uniform
    batchSize = 128
    epochs = 200
    augmentation = Augmentation(cropPadding: 4, cropBorder: .reflect, flip: .random)
    learningRate = 0.1
    schedule.name = .steps
    // Every ten epochs of 390 steps.
    evalEvery = 3900
    checkpointEvery = 390
  }

  /// `docs/recipes.md` has the measurements.
  private mutating func setFastDefaults() {
    setCommonDefaults()
    depth = 16
    widenFactor = 4
    batchSize = 256
    microbatches = 16
    epochs = 28
    augmentation = Augmentation(cropPadding: 4, cropBorder: .reflect, flip: .alternating)
    resolution = .growing
    learningRate = 0.5
    schedule.name = .points
    labelSmoothing = 0.2
    optimizer.averageDecay = 0.95
    optimizer.averageEvery = 5
    testFlip = true
    // Every five epochs of 195 steps.
    evalEvery = 975
    checkpointEvery = 975
  }
}
