import Datasets
import Models
import Optimizers
import Testing
import Training

/// The defaults of recipes, and what follows from them for a run's length and learning rate.
@Suite struct RecipeTests {
  @Test func traxIsTheDefault() { #expect(TrainingConfiguration() == TrainingConfiguration(recipe: .trax)) }

  /// Zagoruyko and Komodakis, section 3 and `train.lua`.
  @Test func thePaper() throws {
    var paper = TrainingConfiguration(recipe: .paper)
    #expect(try paper.modelGraph().parameterCount == 36_479_194)
    try paper.completeLength(trainingCount: 50_000)
    #expect(paper.steps == 200 * 390)
    let rate = try paper.learningRateSchedule(trainingCount: 50_000)
    for (epoch, expected) in [(0, 0.1), (59, 0.1), (60, 0.02), (119, 0.02), (120, 0.004), (160, 0.0008), (199, 0.0008)]
    {
      #expect(abs(rate(epoch * 390 + 1) - expected) < 1e-12, "epoch \(epoch)")
    }
    #expect(paper.optimizer.name == .sgd && paper.optimizer.nesterov && paper.optimizer.momentum == 0.9)
    #expect(paper.optimizer.weightDecay == 5e-4 && paper.optimizer.decaysBiases)
    #expect(paper.augmentation == Augmentation(cropPadding: 4, cropBorder: .reflect, flip: .random))
    #expect(paper.initialization == Initialization(weights: .fanIn, scale: .uniform))
    #expect(paper.normalize == .meanStd && paper.lastBatch == .drop && paper.shuffle == .epoch)
  }

  @Test func theFastRecipeEndsAtFullSizeAndRateZero() throws {
    var fast = TrainingConfiguration(recipe: .fast)
    try fast.completeLength(trainingCount: 50_000)
    #expect(fast.resolution.size(step: 1, of: fast.steps) == 16)
    #expect(fast.resolution.size(step: fast.steps, of: fast.steps) == 32)
    let rate = try fast.learningRateSchedule(trainingCount: 50_000)
    #expect(abs(rate(1) - 0.2 * fast.learningRate) < 1e-9)
    #expect(rate(fast.steps) < 0.01 * fast.learningRate)
    let peak = (1...fast.steps).map(rate.callAsFunction).max() ?? 0
    #expect(peak <= fast.learningRate && peak > 0.99 * fast.learningRate)
  }

  /// The triangle follows the length of the run, so that another --epochs needs no other flag.
  @Test(arguments: [1, 7, 100])
  func theDefaultPointsFitEveryLength(epochs: Int) throws {
    var fast = TrainingConfiguration(recipe: .fast)
    fast.epochs = epochs
    try fast.completeLength(trainingCount: 50_000)
    #expect(fast.steps == epochs * 195)
  }

  @Test func pointsThatEndTooEarlyAreRefused() {
    var fast = TrainingConfiguration(recipe: .fast)
    fast.schedule.points = [.init(epoch: 0, factor: 1), .init(epoch: 5, factor: 0)]
    #expect(throws: InvalidSchedule.self) { try fast.completeLength(trainingCount: 50_000) }
  }

  @Test func heldOutImagesMustLeaveABatch() throws {
    var configuration = TrainingConfiguration()
    configuration.validation = 9_936
    try configuration.completeLength(trainingCount: 10_000)
    configuration.validation = 9_937
    #expect { try configuration.completeLength(trainingCount: 10_000) } throws: {
      "\($0)".contains("--validation 9937 leaves 63 of 10000 training images")
    }
  }

  /// With held-out images an epoch is shorter.
  @Test func epochsCountImagesThatAreTrainedOn() throws {
    var paper = TrainingConfiguration(recipe: .paper)
    paper.validation = 5_000
    try paper.completeLength(trainingCount: 50_000)
    #expect(paper.steps == 200 * 351)
  }

  /// A setting that changes the parameters must be part of what a resume compares.
  @Test func resumeComparesTheLengthWhereTheRateDependsOnIt() {
    func names(_ change: (inout TrainingConfiguration) -> Void) -> Set<String> {
      var configuration = TrainingConfiguration()
      change(&configuration)
      return Set(configuration.resumeSettings.map(\.name))
    }
    #expect(!names { _ in }.contains("steps"))
    #expect(names { $0.schedule.name = .cosine }.contains("steps"))
    #expect(names { $0.schedule.name = .points }.contains("steps"))
    #expect(!names { $0.schedule.name = .steps }.contains("steps"))
    #expect(TrainingConfiguration(recipe: .fast).resumeSettings.contains { $0.name == "steps" })
  }

  @Test func everySettingHasOneValue() {
    for recipe in TrainingConfiguration.Recipe.allCases {
      let names = TrainingConfiguration(recipe: recipe).settings.map(\.name)
      #expect(names.count == Set(names).count && names.contains("steps"))
    }
  }
}
