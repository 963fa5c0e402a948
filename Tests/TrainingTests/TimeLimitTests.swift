import Testing
import Training

/// When a run stops by itself before the end of its job.
@Suite struct TimeLimitTests {
  @Test func theEnvironmentNamesTheEnd() {
    #expect(TimeLimit(environment: [:]) == nil)
    #expect(TimeLimit(environment: ["SLURM_JOB_END_TIME": "1700000000"]) == TimeLimit(end: 1_700_000_000))
    #expect(TimeLimit(environment: ["SLURM_JOB_END_TIME": "7", "WRN_END_TIME": "9"]) == TimeLimit(end: 9))
    for text in ["", "never", "-5", "0", "inf"] { #expect(TimeLimit(environment: ["WRN_END_TIME": text]) == nil) }
  }

  /// Twice a checkpoint and a step, and ten seconds.
  @Test func theLastCheckpointFits() {
    let limit = TimeLimit(end: 1000)
    #expect(!limit.isNear(now: 939, checkpointSeconds: 20, stepSeconds: 5))
    #expect(limit.isNear(now: 940, checkpointSeconds: 20, stepSeconds: 5))
    #expect(limit.isNear(now: 2000, checkpointSeconds: 0, stepSeconds: 0))
    // WRN-28-10 with Adam: 36.5 million parameters.
    #expect((20...24).contains(TimeLimit.expectedCheckpointSeconds(byteCount: 12 * 36_500_000)))
  }
}
