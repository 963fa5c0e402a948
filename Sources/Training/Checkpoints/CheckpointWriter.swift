import Foundation
import Support
import Synchronization

/// Writes checkpoints one at a time, on the calling thread or in the background while training continues.
///
/// A write never communicates. Its end is an ``Outcome``, which the training thread takes; a failure is not thrown, because
/// a full disk must not stop a run.
package final class CheckpointWriter: @unchecked Sendable {
  /// The end of a write.
  package struct Outcome {
    /// The checkpoint's step.
    package let step: Int
    /// The duration of the write.
    package let seconds: Double
    /// The reason why it failed; `nil` if the checkpoint is complete.
    package let failure: (any Error)?
  }

  private let condition = NSCondition()
  // The condition guards these two; the flag says without a lock whether there is an outcome.
  private var isWriting = false
  private var outcome: Outcome?
  private let hasOutcome = Atomic<Bool>(false)
  private let progressCount = Atomic<Int>(0)

  /// Creates a writer that is idle.
  package init() {}

  /// Writes a checkpoint.
  ///
  /// - Parameters:
  ///   - step: The checkpoint's step.
  ///   - inBackground: Whether to return at once. If no thread can be started, the calling thread writes.
  ///   - progress: Called on the calling thread after every tensor that it writes.
  ///   - body: Writes the checkpoint, and calls its argument after every tensor. It must not use what the training thread
  ///     changes meanwhile.
  /// - Precondition: The outcome of the write before has been taken.
  package func write(
    step: Int, inBackground: Bool, progress: @escaping () -> Void,
    _ body: @escaping @Sendable (_ progress: @escaping () -> Void) throws -> Void
  ) {
    condition.withLock {
      precondition(!isWriting && outcome == nil, "one checkpoint is written at a time")
      isWriting = true
    }
    if inBackground {
      let started: Void? = try? SystemThread.start("wrn-checkpoint") { [self] in
        run(step, body) { self.progressCount.wrappingAdd(1, ordering: .relaxed) }
      }
      if started != nil { return }
    }
    run(step, body, progress)
  }

  private func run(
    _ step: Int, _ body: (@escaping () -> Void) throws -> Void, _ progress: @escaping () -> Void
  ) {
    let start = MonotonicClock.now()
    var failure: (any Error)?
    do { try body(progress) } catch { failure = error }
    condition.withLock {
      isWriting = false
      outcome = Outcome(step: step, seconds: MonotonicClock.seconds(since: start), failure: failure)
      hasOutcome.store(true, ordering: .relaxed)
      condition.broadcast()
    }
  }

  /// Takes the outcome of a write that has ended; `nil` if there is none.
  ///
  /// Does not block, and allocates nothing.
  package func poll() -> Outcome? {
    guard hasOutcome.load(ordering: .relaxed) else { return nil }
    return condition.withLock { take() }
  }

  /// Blocks until no write is in flight, and takes its outcome.
  ///
  /// - Parameter progress: Called on the calling thread when the write has progressed.
  /// - Returns: The outcome; `nil` if nothing was written since the last one.
  package func wait(progress: () -> Void = {}) -> Outcome? {
    condition.lock()
    defer { condition.unlock() }
    var seen = progressCount.load(ordering: .relaxed)
    while isWriting {
      _ = condition.wait(until: Date(timeIntervalSinceNow: 0.2))
      let count = progressCount.load(ordering: .relaxed)
      if count != seen { progress() }
      seen = count
    }
    return take()
  }

  private func take() -> Outcome? {
    defer {
      outcome = nil
      hasOutcome.store(false, ordering: .relaxed)
    }
    return outcome
  }
}

/// Whether training waits while a checkpoint is written.
public enum CheckpointMode: String, Sendable, Codable, CaseIterable {
  /// The state is copied in memory, and written while training continues.
  case async
  /// Training waits.
  case sync
}
