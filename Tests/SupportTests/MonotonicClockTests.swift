import Support
import Testing

@Suite struct MonotonicClockTests {
  @Test func theClockAdvances() async throws {
    let outer = ContinuousClock.now
    let start = MonotonicClock.now()
    try await Task.sleep(for: .milliseconds(20))
    let elapsed = MonotonicClock.seconds(since: start)
    // However long a busy machine lets it sleep, the standard library's clock agrees.
    #expect(start > 0 && elapsed >= 0.02 && elapsed <= (ContinuousClock.now - outer).seconds)
  }

  @Test func nanosecondsBecomeSeconds() {
    #expect(MonotonicClock.seconds(1_500_000_000) == 1.5)
    #expect(MonotonicClock.seconds(0) == 0)
  }

  @Test func durationsBecomeSeconds() {
    #expect(Duration.seconds(2).seconds == 2)
    #expect(Duration.milliseconds(1_250).seconds == 1.25)
    #expect(Duration.milliseconds(-500).seconds == -0.5)
    #expect(abs(Duration.nanoseconds(7).seconds - 7e-9) < 1e-20)
  }
}
