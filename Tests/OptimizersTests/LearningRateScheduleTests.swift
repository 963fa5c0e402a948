import Foundation
import Optimizers
import Testing

/// Learning rates against PyTorch's schedulers, and what is refused.
@Suite struct LearningRateScheduleTests {
  private static let points = LearningRateSchedule.Shape.points([
    .init(epoch: 0, factor: 0.2), .init(epoch: 2, factor: 1), .init(epoch: 5, factor: 0.5), .init(epoch: 8, factor: 0),
  ])

  private static let schedules: [String: LearningRateSchedule] = [
    "one-cycle-90": .init(peak: 0.4, shape: .oneCycle, warmupEpochs: 0, stepsPerEpoch: 30, totalSteps: 90),
    "one-cycle-7": .init(peak: 0.4, shape: .oneCycle, warmupEpochs: 0, stepsPerEpoch: 7, totalSteps: 7),
    "milestones": .init(
      peak: 0.1, shape: .steps(milestones: [3, 5, 6], factor: 0.2), warmupEpochs: 0, stepsPerEpoch: 12, totalSteps: 96),
    "cosine": .init(peak: 0.3, shape: .cosine, warmupEpochs: 0, stepsPerEpoch: 30, totalSteps: 90),
    "warm-up-cosine": .init(peak: 0.3, shape: .cosine, warmupEpochs: 2, stepsPerEpoch: 10, totalSteps: 90),
    "points": .init(peak: 0.6, shape: points, warmupEpochs: 0, stepsPerEpoch: 11, totalSteps: 88),
  ]

  @Test func everyStepOfEverySchedule() throws {
    let lines = try PyTorchFixture("schedules.txt").lines
    #expect(Set(lines.map { $0[1] }) == Set(Self.schedules.keys))
    for words in lines {
      let schedule = try #require(Self.schedules[words[1]])
      let rates = try PyTorchFixture.numbers(words, from: 2)
      #expect(rates.count >= 7)
      for (i, rate) in rates.enumerated() {
        // A few roundings on either side, grown where 1 + cos cancels at a cosine's end: found at most 1.1e-14.
        let error = abs(schedule(i + 1) - rate)
        #expect(error <= 1e-13 * rate, "\(words[1]), step \(i + 1): \(error / rate)")
      }
    }
  }

  /// 50,000 images in batches of 64: 781.25 steps per epoch, so epoch 2 begins within step 782.
  @Test func milestonesOfFractionalEpochs() {
    let schedule = LearningRateSchedule(
      peak: 1, shape: .steps(milestones: [1, 2, 4], factor: 0.5), warmupEpochs: 0, stepsPerEpoch: 781.25,
      totalSteps: 4000)
    let rates = [(1, 1.0), (782, 1), (783, 0.5), (1563, 0.5), (1564, 0.25), (3125, 0.25), (3126, 0.125), (9999, 0.125)]
    for (step, rate) in rates { #expect(schedule(step) == rate, "step \(step)") }
  }

  @Test func firstAndLastSteps() {
    let schedule = LearningRateSchedule(
      peak: 2, shape: Self.points, warmupEpochs: 0, stepsPerEpoch: 10, totalSteps: 80)
    #expect(schedule(1) == 2 * 0.2)
    #expect(schedule(21) == 2)
    // One step before the end of a line from 0.5 to 0 in 30 steps.
    #expect(abs(schedule(80) - 2 * 0.5 / 30) < 1e-15)
    #expect(schedule(81) == 0 && schedule(1000) == 0)
    let cosine = LearningRateSchedule(peak: 2, shape: .cosine, warmupEpochs: 0, stepsPerEpoch: 10, totalSteps: 80)
    #expect(cosine(1) == 2 && cosine(41) == 1 && cosine(81) == 0 && cosine(1000) == 0)
  }

  @Test func aWarmUpIsLinearFromZero() {
    let schedule = LearningRateSchedule(
      peak: 0.5, shape: .constant, warmupEpochs: 0.5, stepsPerEpoch: 8, totalSteps: 100)
    #expect((1...6).map { schedule($0) } == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
  }

  /// If one changes, earlier runs can no longer be reproduced bitwise.
  @Test func ratesArePinned() throws {
    let cosine = try #require(Self.schedules["cosine"])
    let oneCycle = try #require(Self.schedules["one-cycle-90"])
    #expect(cosine(38).bitPattern == 4_596_061_972_194_916_210)
    #expect(oneCycle(11).bitPattern == 4_594_209_020_471_019_803)
    #expect(oneCycle(71).bitPattern == 4_590_663_397_856_136_640)
  }

  @Test func textsAreParsed() throws {
    #expect(try LearningRateSchedule.Shape.parseMilestones("60,120,160") == [60, 120, 160])
    #expect(try LearningRateSchedule.Shape.parseMilestones("0.5") == [0.5])
    let points = try LearningRateSchedule.Shape.parsePoints("0:0.2,2:1,5:0.5,8:0")
    #expect(LearningRateSchedule.Shape.points(points) == Self.points)
  }

  @Test(arguments: [
    ("120,60", "increasing"), ("60,60", "increasing"), ("0,60", "positive"), ("-1", "positive"), ("", "number"),
    ("60,,120", "number"), ("60;120", "number"), ("nan", "number"), ("1,inf", "number"),
  ])
  func wrongMilestones(text: String, word: String) {
    let error = #expect(throws: InvalidSchedule.self) { try LearningRateSchedule.Shape.parseMilestones(text) }
    #expect(error?.description.contains(word) == true && error?.description.hasSuffix(".") == true)
  }

  @Test(arguments: [
    ("1:0,5:1", "epoch 0"), ("0:0,5:1,5:0", "increasing"), ("0:0,5:1,4:0", "increasing"), ("0:0,5", "epoch:factor"),
    ("0:0:1", "epoch:factor"), ("0:x", "number"), ("0:0,5:-1", "at least 0"), ("", "epoch:factor"),
  ])
  func wrongPoints(text: String, word: String) {
    let error = #expect(throws: InvalidSchedule.self) { try LearningRateSchedule.Shape.parsePoints(text) }
    #expect(error?.description.contains(word) == true && error?.description.hasSuffix(".") == true)
  }

  @Test func pointsMustReachTheLastStep() throws {
    let shape = LearningRateSchedule.Shape.points(try LearningRateSchedule.Shape.parsePoints("0:0,5:1,24:0"))
    try shape.validate(stepsPerEpoch: 781.25, totalSteps: 18_750)
    // 7 epochs of 3,645.83 … steps end within a step, which is complete.
    let seven = LearningRateSchedule.Shape.points(try LearningRateSchedule.Shape.parsePoints("0:0,7:1"))
    try seven.validate(stepsPerEpoch: 50_000.0 / 96, totalSteps: 3646)
    let error = #expect(throws: InvalidSchedule.self) { try shape.validate(stepsPerEpoch: 100, totalSteps: 2500) }
    #expect(
      error?.description == "The last point is at epoch 24.0, but the run has 25.0 epochs; add a point at its end.")
  }

  @Test func factorsOfMilestonesMustBePositive() {
    for factor in [0, -0.2, .nan, .infinity] {
      let shape = LearningRateSchedule.Shape.steps(milestones: [1], factor: factor)
      #expect(throws: InvalidSchedule.self) { try shape.validate(stepsPerEpoch: 1, totalSteps: 2) }
    }
  }
}
