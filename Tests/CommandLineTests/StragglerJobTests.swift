import TestSupport
import Testing

/// A slow rank in the report and in `metrics.jsonl` of a job.
@Suite struct StragglerJobTests {
  /// A slow rank is named from the time that it computes, not from the time that others wait.
  @Test func aStragglerIsNamed() throws {
    let folder = try TemporaryDirectory()
    var job = Job.training(folder, ranks: 3, output: "run", ["--steps", "8"])
    job.environment = [
      "WRN_FAULT": "rank=1,step=1,until=8,phase=backward,act=slow,milliseconds=700", "WRN_ALLOW_FAULTS": "1",
    ]
    let output = try job.succeed()
    let form = #/^Step      8: rank 1 computed [0-9]+\.[0-9] times as long as the median rank$/#
    #expect(output.lines.contains { $0.firstMatch(of: form) != nil }, "\(output.standardOutput)")
    let lines = folder.read("run/metrics.jsonl").split(separator: "\n")
    // A pause of another rank may be longer in some steps.
    let slowCount = lines.count { $0.contains(#","slowest_rank":1,"#) }
    #expect(lines.count == 8 && slowCount >= 4, "\(lines)")
    #expect(lines[0].contains("slowest") == false, "the times are those of the step before")
  }
}
