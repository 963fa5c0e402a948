import Testing
import Training

/// The live line is a pure function of the run's state and the terminal's width.
@Suite struct ProgressLineTests {
  private func line(_ share: Double? = 0.254) -> ProgressLine {
    var line = ProgressLine(step: 12_345, of: 100_000)
    (line.epoch, line.loss, line.accuracy) = (15.8, 2.31, 0.6825)
    (line.imagesPerSecond, line.communicationShare, line.secondsLeft) = (12_345, share, 3_661)
    return line
  }

  @Test func aWideTerminalShowsEverything() {
    #expect(
      line().render(width: 140)
        == "[###-------------------------]  step 12345/100000  epoch 15.8  loss 2.3100  accuracy 68.2 %  12345 img/s  "
        + "25 % communication  1:01:01 left")
    #expect(!line(nil).render(width: 200).contains("communication"))
  }

  /// What matters least is left out first, and nothing is cut in the middle.
  @Test(arguments: [
    (140, ["epoch", "loss", "accuracy", "img/s", "communication", "left", "step", "[#"]),
    (80, ["loss", "accuracy", "img/s", "left", "step"]), (60, ["loss", "img/s", "left", "step"]),
    (40, ["12345/100000 2.31 12345 img/s 1:01:01"]), (30, ["12345/100000 2.31 1:01:01"]), (20, ["12345/100000 2.31"]),
    (14, ["12345/100000"]), (8, ["12%"]),
  ])
  func narrowTerminals(width: Int, words: [String]) {
    let text = line().render(width: width)
    for word in words { #expect(text.contains(word), "\(width): \(text)") }
    if width <= 40 { #expect(text == words[0]) }
  }

  @Test func noLineIsAsWideAsTheTerminal() {
    for width in 0...200 {
      for bar in [ProgressLine.Bar.ascii, .blocks] {
        #expect(line().render(width: width, bar: bar).count <= max(0, width - 1))
        #expect(ProgressLine(step: 1, of: 9).render(width: width, bar: bar).count <= max(0, width - 1))
        for total in [nil, 79] {
          let text = ActivityLine.render("checkpoint", done: 3, of: total, seconds: 12, width: width, bar: bar)
          #expect(text.count <= max(0, width - 1))
        }
      }
    }
  }

  @Test func barsAreClamped() {
    #expect(ProgressLine.Bar.ascii.render(0.5, width: 10) == "[####----]")
    #expect(ProgressLine.Bar.blocks.render(0.25, width: 8) == "━━──────")
    #expect(ProgressLine.Bar.ascii.render(7, width: 6) == "[####]")
    #expect(ProgressLine.Bar.blocks.render(-1, width: 3) == "───")
    #expect(ProgressLine.Bar.ascii.render(.nan, width: 4) == "[--]")
  }

  @Test func durations() {
    #expect(ProgressLine.duration(0) == "0:00" && ProgressLine.duration(61.6) == "1:02")
    #expect(ProgressLine.duration(3_661) == "1:01:01" && ProgressLine.duration(400_000) == "111:06:40")
    #expect(ProgressLine.duration(.nan) == "0:00" && ProgressLine.duration(-5) == "0:00")
  }

  @Test func activitiesHaveABarIfTheirEndIsKnown() {
    #expect(
      ActivityLine.render("evaluation", done: 40, of: 80, seconds: 12, width: 60)
        == "evaluation  [##############--------------]  40/80  0:12")
    #expect(ActivityLine.render("checkpoint", done: 3, of: nil, seconds: 65, width: 60) == "checkpoint  1:05")
    #expect(ActivityLine.render("evaluation", done: 40, of: 80, seconds: 12, width: 20) == "evaluation  0:12")
  }

  @Test func eventsAreJSON() {
    let event = RunEvent(
      "end", ["run": .text("a \"b\"\\\n\u{1}<ü>"), "steps": .integer(3), "loss": .number(.nan), "accuracy": nil])
    #expect(
      event.json(time: 1.5) == #"{"event":"end","time":1.5,"run":"a \"b\"\\\n\u0001<ü>","steps":3,"loss":null}"#)
  }
}
