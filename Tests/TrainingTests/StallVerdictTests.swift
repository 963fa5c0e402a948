import Collectives
import Foundation
import Synchronization
import TestSupport
import Testing
import Training

/// Whom a watchdog blames: never a rank that merely waits, never one that makes progress.
@Suite struct StallVerdictTests {
  private func status(
    _ rank: Int, _ phase: RankActivity.Phase = .forward, step: Int = 17, element: Int = -1, waited: Double = 0,
    idle: Double = 0, silent: Double = 0
  ) -> RankStatus {
    RankStatus(
      rank: rank, host: "node0\(rank)",
      activity: RankActivity.Snapshot(
        phase: phase, step: step, element: element, waitedNanoseconds: UInt64(waited * 1e9), stampCount: 5),
      idleSeconds: idle, silentSeconds: silent)
  }

  private func verdict(_ ranks: [RankStatus], missing: [Int] = []) -> (suspects: [Int], text: String)? {
    let verdict = StallVerdict(ranks, missing: missing, limitSeconds: 300) { $0 < 100 ? "stem.weight" : "head.weight" }
    guard case .stalled(let suspects, let text) = verdict else { return nil }
    return (suspects, text)
  }

  @Test func shortWaitsAreNormal() {
    #expect(verdict([status(0, waited: 299), status(1, waited: 299, idle: 299), status(2, idle: 299)]) == nil)
    #expect(verdict([status(0), status(1, silent: 1000)]) == nil, "nobody waits for the silent rank")
  }

  @Test func aSilentRankIsNamed() throws {
    let found = try #require(
      verdict([
        status(0, waited: 301, idle: 301), status(1, .backward, element: 5, silent: 301.5),
        status(2, .update, waited: 300.5, idle: 300.5),
      ]))
    #expect(found.suspects == [1])
    #expect(
      found.text == "rank 1 on node01 has not answered for 301 s, last seen in the backward pass of step 17 at "
        + "stem.weight, while ranks 0 and 2 have waited for 301 s in the forward pass of step 17")
  }

  /// Its own wait was frozen when it was stopped.
  @Test func aRankThatWasStoppedWhileItWaited() throws {
    #expect(try #require(verdict([status(0, waited: 301), status(1, waited: 2, silent: 299)])).suspects == [1])
  }

  @Test func aRankWithoutProgressIsNamed() throws {
    let found = try #require(verdict([status(0, .checkpoint, step: 20, idle: 299), status(1, waited: 301)]))
    #expect(found.suspects == [0])
    #expect(
      found.text == "rank 0 on node00 has made no progress for 299 s in the checkpoint of step 20, "
        + "while rank 1 has waited for 301 s in the forward pass of step 17")
  }

  /// Rank 0 evaluates or writes for an hour while the others wait.
  @Test(arguments: [RankActivity.Phase.checkpoint, .evaluation, .forward])
  func progressIsNoStall(phase: RankActivity.Phase) {
    #expect(verdict([status(0, phase, idle: 12), status(1, waited: 3600), status(2, waited: 3600)]) == nil)
    // One of two ranks that are awaited makes progress.
    #expect(verdict([status(0, phase, idle: 12), status(1, waited: 3600), status(2, idle: 3600)]) == nil)
  }

  @Test func theStartupHasNoStamps() {
    let verdict = StallVerdict(
      [status(0, .startup, idle: 100), status(1, .startup, waited: 100)], limitSeconds: 3
    ) { _ in nil }
    #expect(verdict == .none)
    // The last heartbeat of a rank that was stopped soon after the start.
    #expect(self.verdict([status(0, waited: 301), status(1, .startup, step: 0, silent: 302)])?.suspects == [1])
  }

  @Test func aLostMessageOrARankThatIsNotHeard() throws {
    let waiting = [status(0, waited: 301), status(1, waited: 301)]
    let lost = try #require(verdict(waiting))
    #expect(lost.suspects.isEmpty && lost.text.hasPrefix("no rank computes; a message was lost between them, while"))
    let unheard = try #require(verdict(waiting, missing: [2]))
    #expect(unheard.suspects == [2] && unheard.text.hasPrefix("rank 2 cannot be heard, while ranks 0 and 1"))
    #expect(verdict([status(0, waited: 301), status(1, waited: 10)]) == nil, "rank 1 was awaited a moment ago")
  }

  /// Watchdogs of threads: one rank stops to make progress, and all reports name it.
  @Test(arguments: [0, 1, 2])
  func watchdogsFindTheRankThatTheOthersAwait(stopped: Int) throws {
    let reports = Mutex<[String]>([])
    let warnings = Mutex<[String]>([])
    _ = try ThreadCommunicator.run(worldSize: 3) { communicator in
      let (watchdog, unconnected) = try Watchdog.start(
        limitSeconds: 3, host: "host", addresses: [], parameterNames: [(0, "stem.weight"), (100, "head.weight")],
        communicator: communicator
      ) { report in
        switch report {
        case .warning(let text): warnings.withLock { $0.append(text) }
        case .stalled(let text): reports.withLock { $0.append(text) }
        }
      }
      defer { watchdog.stop() }
      #expect(unconnected.isEmpty)
      let activity = communicator.statistics.activity
      // The others wait for longer than the limit, but the rank makes progress.
      if communicator.rank == stopped {
        for step in 1...12 {
          activity.enter(step: step)
          activity.enter(.backward, element: 150)
          usleep(350_000)
        }
      } else {
        activity.waiting { _ = usleep(4_200_000) }
      }
      #expect(reports.withLock { $0.isEmpty })
      let isReported = { reports.withLock { !$0.isEmpty } }
      if communicator.rank == stopped {
        while !isReported() { usleep(10_000) }
      } else {
        activity.waiting { while !isReported() { usleep(10_000) } }
      }
    }
    let found = reports.withLock { $0[0] }
    let words = "rank \(stopped) on host has made no progress for "
    #expect(found.contains(words) && found.contains(" s in the backward pass of step 12 at head.weight"), "\(found)")
    #expect(warnings.withLock { $0.count } >= 1)
  }
}
