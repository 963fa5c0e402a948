import Support
import Synchronization

/// What a rank's computing thread does now, for a watchdog on another thread.
///
/// The computing thread stamps it; a stamp is a few relaxed stores. Each value is consistent by itself, not with the others.
public final class RankActivity: Sendable {
  /// A part of a run.
  public enum Phase: Int, Sendable, CaseIterable {
    /// Before the first step.
    case startup
    /// Waiting for images.
    case data
    /// The forward pass.
    case forward
    /// The backward pass, and the updates that overlap with it.
    case backward
    /// Updates after the backward pass, and the step's summary.
    case update
    /// The comparison of the ranks' parameters.
    case comparison
    /// Gathering or writing a checkpoint.
    case checkpoint
    /// An evaluation.
    case evaluation
    /// After the last step.
    case end
  }

  /// The values at one moment.
  public struct Snapshot: Hashable, Sendable {
    /// The part of the run.
    public var phase: Phase
    /// The step, 0 before the first.
    public var step: Int
    /// The first flat parameter element of the layer that is computed; −1 if the phase has no layers.
    public var element: Int
    /// The nanoseconds since the computing thread began to wait for other ranks; 0 if it does not wait.
    public var waitedNanoseconds: UInt64
    /// The number of stamps so far; it grows as long as the thread makes progress.
    public var stampCount: UInt64

    /// Creates a snapshot.
    public init(phase: Phase, step: Int, element: Int, waitedNanoseconds: UInt64, stampCount: UInt64) {
      self.phase = phase
      self.step = step
      self.element = element
      self.waitedNanoseconds = waitedNanoseconds
      self.stampCount = stampCount
    }
  }

  private let phase = Atomic<Int>(0)
  private let step = Atomic<Int>(0)
  private let element = Atomic<Int>(-1)
  private let waitStart = Atomic<UInt64>(0)
  private let stampCount = Atomic<UInt64>(0)

  /// Creates the activity of a rank that starts.
  public init() {}

  /// Stamps that a phase begins or progresses.
  ///
  /// - Parameters:
  ///   - newPhase: The phase.
  ///   - newElement: The first flat parameter element of the layer; −1 if there is none.
  public func enter(_ newPhase: Phase, element newElement: Int = -1) {
    phase.store(newPhase.rawValue, ordering: .relaxed)
    element.store(newElement, ordering: .relaxed)
    progress()
  }

  /// Stamps that a step begins.
  public func enter(step number: Int) {
    step.store(number, ordering: .relaxed)
    enter(.data)
  }

  /// Stamps progress within a phase, such as a batch of an evaluation or a tensor of a checkpoint.
  public func progress() { stampCount.wrappingAdd(1, ordering: .relaxed) }

  /// Calls a body that blocks until other ranks have done their part.
  ///
  /// - Parameters:
  ///   - start: When the wait began.
  ///   - body: Blocks.
  /// - Returns: The body's result.
  /// - Throws: The body's error.
  public func waiting<Result>(
    since start: UInt64 = MonotonicClock.now(), _ body: () throws -> Result
  ) rethrows -> Result {
    waitStart.store(max(start, 1), ordering: .relaxed)
    defer {
      waitStart.store(0, ordering: .relaxed)
      progress()
    }
    return try body()
  }

  /// The values now; may be called on any thread.
  public var snapshot: Snapshot {
    let start = waitStart.load(ordering: .relaxed)
    let now = MonotonicClock.now()
    return Snapshot(
      phase: Phase(rawValue: phase.load(ordering: .relaxed)) ?? .startup, step: step.load(ordering: .relaxed),
      element: element.load(ordering: .relaxed), waitedNanoseconds: start == 0 || now < start ? 0 : max(now - start, 1),
      stampCount: stampCount.load(ordering: .relaxed))
  }
}
