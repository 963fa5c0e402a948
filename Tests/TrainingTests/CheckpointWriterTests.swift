import Foundation
import Testing
import Training

/// Checkpoints written in the background: one at a time, with every end reported.
@Suite struct CheckpointWriterTests {
  private struct Failure: Error {}
  private static func ignored() {}

  /// The body waits for what the caller does after `write` has returned, so a write that blocked would hang.
  @Test func itReturnsWhileTheCheckpointIsWritten() throws {
    let writer = CheckpointWriter()
    let gate = DispatchSemaphore(value: 0)
    writer.write(step: 7, inBackground: true, progress: Self.ignored) { progress in
      gate.wait()
      progress()
    }
    #expect(writer.poll() == nil)
    gate.signal()
    let outcome = try #require(writer.wait())
    #expect(outcome.step == 7 && outcome.failure == nil && outcome.seconds > 0)
    #expect(writer.poll() == nil && writer.wait() == nil, "an outcome is taken once")
  }

  @Test(arguments: [false, true])
  func aFailureIsAnOutcome(inBackground: Bool) throws {
    let writer = CheckpointWriter()
    writer.write(step: 3, inBackground: inBackground, progress: Self.ignored) { _ in throw Failure() }
    let failed = try #require(writer.wait())
    #expect(failed.step == 3 && failed.failure is Failure)
    writer.write(step: 4, inBackground: inBackground, progress: Self.ignored) { _ in }
    #expect(try #require(writer.wait()).failure == nil)
  }

  /// The thread that waits stamps the writer's progress, so that the watchdog sees it.
  @Test func aWaitReportsProgress() throws {
    let writer = CheckpointWriter()
    let seen = DispatchSemaphore(value: 0)
    writer.write(step: 1, inBackground: true, progress: Self.ignored) { progress in
      // A wait that reported no progress would end after ten seconds.
      for _ in 0..<1000 where seen.wait(timeout: .now() + 0.01) == .timedOut { progress() }
    }
    var count = 0
    _ = writer.wait {
      count += 1
      for _ in 0..<1000 { seen.signal() }
    }
    #expect(count > 0)
  }

  @Test func inTheForegroundItReportsEveryTensor() throws {
    let writer = CheckpointWriter()
    var count = 0
    let increment = { count += 1 }
    writer.write(step: 1, inBackground: false, progress: increment) { progress in
      progress()
      progress()
    }
    #expect(count == 2)
    #expect(writer.poll()?.step == 1)
  }

  /// The device `/dev/full` refuses every byte; a test of a whole run makes room again.
  @Test func aFullLogKeepsItsLines() throws {
    let log = try LogFile("/dev/full", .replacing)
    #expect(log.failure == nil)
    for text in ["one", "two"] { Array(text.utf8).withUnsafeBytes { log.append($0) } }
    #expect(log.failure?.description == "writing /dev/full failed: No space left on device.")
    #expect(throws: CheckpointError.self) { try log.flush() }
  }
}
