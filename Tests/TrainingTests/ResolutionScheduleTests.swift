import Testing
import Training

/// Sizes of images as a function of the step.
@Suite struct ResolutionScheduleTests {
  @Test func sizesBeginAtTheirShares() throws {
    let schedule = try ResolutionSchedule("16@0,24@0.5,32@0.8")
    // Step s has done s − 1 steps: the share of step 51 of 100 is 0.5.
    let expected = [(1, 16), (50, 16), (51, 24), (80, 24), (81, 32), (100, 32)]
    for (step, size) in expected { #expect(schedule.size(step: step, of: 100) == size, "step \(step)") }
    #expect(schedule.sizes == [32, 24, 16] && schedule.isProgressive)
  }

  @Test(arguments: ["32", "16", "16@0,24@0.5,32@0.8", "16@0,32@0.55"])
  func textsAreParsedToThemselves(text: String) throws {
    #expect(try ResolutionSchedule(text).description == text)
  }

  @Test func changesAreRecentForAWhile() throws {
    let schedule = try ResolutionSchedule("16@0,32@0.5")
    // Steps 501 to 1000 are at full size.
    for (step, expected) in [(1, true), (500, true), (501, true), (599, true), (600, false), (1000, false)] {
      #expect(schedule.hasChanged(within: 100, before: step, of: 1000) == expected, "step \(step)")
    }
    #expect(!ResolutionSchedule.full.hasChanged(within: 100, before: 1, of: 1000))
  }

  @Test(arguments: [
    ("30", "not a multiple of 4"), ("36", "between 8 and 32"), ("4", "between 8 and 32"),
    ("16,32", "write 32, or sizes"),
    ("16@0.1,32@0.5", "must start at 0"), ("16@0,24@0.5,32@0.5", "increase"), ("16@0,32@1", "below 1"),
    ("", "not a size"),
    ("16@x", "not a size"), ("16@0,", "not a size"),
  ])
  func textsThatNoScheduleHas(text: String, word: String) {
    #expect {
      try ResolutionSchedule(text)
    } throws: { "\($0)".contains(word) && "\($0)".contains("--resolution") }
  }
}
