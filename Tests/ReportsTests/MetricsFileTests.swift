import Foundation
import Reports
import Testing

/// Logs as they are, and as they should not be.
@Suite struct MetricsFileTests {
  private static let step =
    #"{"kind":"train","step":7,"loss":1.5,"learning_rate":1e-05,"images_per_second":812.25,"gradient_norm":3.0,"#
    + #""compute_seconds":0.0625,"communication_seconds":0.25,"data_seconds":0.125}"#

  private func file(_ text: String) -> MetricsFile { MetricsFile(Data(text.utf8)) }

  @Test func everyFieldOfAStepIsRead() throws {
    let step = try #require(file(Self.step + "\n").steps.first)
    #expect(step.step == 7 && step.loss == 1.5 && step.learningRate == 1e-5 && step.imagesPerSecond == 812.25)
    #expect(step.computeSeconds == 0.0625 && step.communicationSeconds == 0.25 && step.dataSeconds == 0.125)
  }

  /// Other spacing and order are JSON as well, which Foundation reads.
  @Test func anyJSONOfTheSameMeaningIsRead() throws {
    let text = #"{ "step" : 3, "loss": 0.5, "kind": "train", "new": [1, {"a": 2}] }"# + "\n"
    let read = file(text)
    #expect(read.steps.map(\.step) == [3] && read.steps[0].loss == 0.5 && read.damagedLineCount == 0)
    let unknown = file(Self.step.replacing(#""loss""#, with: #""unknown":2,"loss""#) + "\n")
    #expect(unknown.steps.map(\.loss) == [1.5])
  }

  /// Both parsers must agree on every line that the fast one takes.
  @Test(arguments: [
    "1", "-1", "1.5", "1e3", "1.25e-07", "null", "123456.789", "0", "3.4028235e+38", "0.1",
  ])
  func theFastParserAgreesWithFoundation(number: String) throws {
    let fast = file(Self.step.replacing("1.5", with: number) + "\n")
    let slow = file(Self.step.replacing(#""loss":1.5"#, with: #""loss": \#(number)"#) + "\n")
    let (a, b) = (try #require(fast.steps.first).loss, try #require(slow.steps.first).loss)
    #expect(a == b || a.isNaN && b.isNaN, "\(a) \(b)")
  }

  @Test(arguments: [
    "noise", "{", "{}", #"{"kind":"train"}"#, #"{"kind":"train","step":-1,"loss":1}"#, #"{"kind":"train","step":1.5}"#,
    #"{"kind":"train","step":1e30,"loss":1}"#, #"{"kind":"train","step":1,"loss":}"#,
    #"{"kind":"train","step":1,"loss":1"#,
    #"{"kind":"train","step":1,,"loss":1}"#, #"{"kind":"train","step":"1","loss":2}"#, #"{"kind":"other","step":1}"#,
    "\u{0}\u{0}\u{0}",
    #"{"kind":"train","step":1,"loss":nullx}"#, #"{"kind":"train","step":1,"loss":0x10}"#,
    #"{"kind":"train","step":1,"loss":inf}"#,
  ])
  func damagedLinesAreCountedAndSkipped(line: String) {
    let read = file("\(Self.step)\n\(line)\n\(Self.step.replacing("7", with: "8"))\n")
    #expect(read.steps.map(\.step) == [7, 8] && read.damagedLineCount == 1, "\(read.steps)")
  }

  @Test func theLastLineOfARunThatWritesIsSkipped() {
    let read = file("\(Self.step)\n\(Self.step.prefix(40))")
    #expect(read.steps.count == 1 && read.hasPartialLine && read.damagedLineCount == 0)
    #expect(!file(Self.step + "\n").hasPartialLine)
  }

  @Test func bytesThatAreNotUTF8() {
    var data = Data((Self.step + "\n").utf8)
    data += [0xFF, 0xFE, 10]
    #expect(MetricsFile(data).steps.count == 1 && MetricsFile(data).damagedLineCount == 1)
    #expect(MetricsFile("/nowhere/at all").steps.isEmpty)
  }

  /// An older program wrote steps again after a resume.
  @Test func repeatedStepsReplaceTheEarlierOnes() {
    let lines = [1, 2, 3, 4, 3, 4, 5].enumerated().map { index, step in
      #"{"kind":"train","step":\#(step),"loss":\#(index)}"# + "\n"
    }
    let read = file(lines.joined())
    #expect(read.steps.map(\.step) == [1, 2, 3, 4, 5] && read.steps.map(\.loss) == [0, 1, 4, 5, 6])
  }

  @Test func evaluationsAreToldApart() {
    let lines = [
      #"{"kind":"eval","step":5,"loss":1.0,"accuracy":0.5,"examples":1280,"statistics":"batch"}"#,
      #"{"kind":"eval","step":5,"loss":2.0,"accuracy":0.25,"examples":1000,"statistics":"batch","images":"validation"}"#,
      #"{"kind":"eval","step":5,"loss":3.0,"accuracy":0.75,"examples":1280,"statistics":"running","mirrored_accuracy":0.8,"weights":"average"}"#,
      #"{"kind":"eval","step":5,"loss":4.0,"accuracy":0.5,"examples":1280,"statistics":"batch"}"#,
      #"{"kind":"eval","step":2,"loss":null,"accuracy":null,"examples":1280,"statistics":"batch"}"#,
    ]
    let evaluations = file(lines.map { $0 + "\n" }.joined()).evaluations
    #expect(evaluations.map(\.step) == [2, 5, 5, 5])
    #expect(evaluations[0].loss.isNaN && evaluations[0].accuracy.isNaN)
    #expect(evaluations[1].isHeldOut && evaluations[1].loss == 2 && evaluations[1].exampleCount == 1000)
    #expect(evaluations[2].isAverage && evaluations[2].mirroredAccuracy == 0.8)
    #expect(!evaluations[3].isAverage && !evaluations[3].isHeldOut && evaluations[3].loss == 4)
  }
}
