import Support

/// A recorder of what each thread of a rank does when, for `--trace`.
///
/// All memory is allocated at the start, and a span costs two clock readings, so tracing hardly changes the timing that
/// it shows. Tracing does not affect results. Code that can be traced holds a `Tracer?` and calls the methods of the
/// optional, which do nothing if it is `nil`.
///
/// ```swift
/// let start = tracer.now()
/// …
/// tracer.record(label, track: 0, since: start)
/// ```
///
/// The type is `@unchecked Sendable`: each track is written by one thread at a time, and the training thread sets
/// ``step`` only while no other thread records.
public final class Tracer: @unchecked Sendable {
  /// The tracks: one per worker, and last one for communication; worker 0 is the training thread.
  public let tracks: [TraceTrack]
  /// The names and categories of all labels, indexed by ``TraceLabel/number``.
  public private(set) var labels: [(name: String, category: String)] = [("unknown", "none")]
  /// The current training step, which every span records.
  public var step = 0

  /// Allocates the tracks.
  ///
  /// - Parameters:
  ///   - workerCount: The number of compute threads.
  ///   - capacity: The number of spans that each track keeps, at least 1; new spans overwrite the oldest.
  public init(workerCount: Int, capacity: Int = 65_536) {
    let names = (0..<workerCount).map { $0 == 0 ? "main" : "worker \($0)" } + ["communication"]
    tracks = names.map { TraceTrack(name: $0, capacity: capacity) }
  }

  /// The index of the track for communication that overlaps with computation.
  public var communicationTrack: Int { tracks.count - 1 }
  /// The bytes of all tracks.
  public var byteCount: Int { tracks.reduce(0) { $0 + $1.byteCount } }

  /// Creates a label.
  ///
  /// Labels are created before the first step, because this allocates memory.
  ///
  /// - Parameters:
  ///   - name: The name of the spans, for example `forward groups.0.blocks.0`.
  ///   - category: The category of the spans, for example `compute`, `wait` or `exchange`.
  /// - Returns: The label.
  public func label(_ name: String, _ category: String) -> TraceLabel {
    labels.append((name, category))
    return TraceLabel(number: UInt32(labels.count - 1))
  }

  /// Records a span that ends now.
  ///
  /// - Parameters:
  ///   - label: The span's label.
  ///   - track: The index of a track that no other thread writes meanwhile.
  ///   - start: The start of the span, a result of `MonotonicClock.now()`.
  public func record(_ label: TraceLabel, track: Int, since start: UInt64) {
    record(label, track: track, from: start, to: MonotonicClock.now())
  }

  /// Records a span.
  ///
  /// - Parameters:
  ///   - label: The span's label.
  ///   - track: The index of a track that no other thread writes meanwhile.
  ///   - start: The start of the span, a result of `MonotonicClock.now()`.
  ///   - end: The end of the span, likewise.
  public func record(_ label: TraceLabel, track: Int, from start: UInt64, to end: UInt64) {
    tracks[track].record(
      TraceSpan(label: label.number, step: UInt32(truncatingIfNeeded: step), start: start, end: end))
  }
}

extension Optional where Wrapped == Tracer {
  /// Creates a label, or returns ``TraceLabel/unknown`` if nothing is traced.
  public func label(_ name: String, _ category: String) -> TraceLabel {
    self?.label(name, category) ?? .unknown
  }

  /// Reads the monotonic clock, or returns 0 if nothing is traced.
  public func now() -> UInt64 { self == nil ? 0 : MonotonicClock.now() }

  /// Records a span that ends now, if something is traced.
  public func record(_ label: TraceLabel, track: Int = 0, since start: UInt64) {
    self?.record(label, track: track, since: start)
  }
}

/// The name and category of a kind of spans, created by ``Tracer/label(_:_:)``.
public struct TraceLabel: Hashable, Sendable {
  /// The index in ``Tracer/labels``; 0 if nothing is traced.
  public let number: UInt32
  /// The label of unnamed spans.
  public static let unknown = TraceLabel(number: 0)
}

/// The latest spans of one thread, in a ring buffer of fixed size.
///
/// One thread writes at a time. The memory is allocated at once; recording a span is a few stores.
public final class TraceTrack: @unchecked Sendable {
  /// The name of the track, for example `worker 1`.
  public let name: String
  /// The maximum number of spans that are kept.
  public let capacity: Int
  /// The number of spans recorded so far, including overwritten ones.
  public private(set) var recordedCount = 0
  private let ring: UnsafeMutablePointer<TraceSpan>

  /// Allocates a track.
  ///
  /// - Precondition: `capacity` is positive.
  init(name: String, capacity: Int) {
    precondition(capacity > 0, "the capacity of a track must be positive")
    self.name = name
    self.capacity = capacity
    ring = .allocate(capacity: capacity)
  }

  deinit { ring.deallocate() }

  /// The number of spans that later ones have overwritten.
  public var droppedCount: Int { max(0, recordedCount - capacity) }
  /// The bytes of the ring buffer.
  public var byteCount: Int { capacity * MemoryLayout<TraceSpan>.stride }

  /// Records a span.
  func record(_ span: TraceSpan) {
    (ring + recordedCount % capacity).initialize(to: span)
    recordedCount &+= 1
  }

  /// The kept spans in the order of recording, which is the order of their ends.
  ///
  /// No thread may record a span meanwhile.
  public var spans: [TraceSpan] { (droppedCount..<recordedCount).map { ring[$0 % capacity] } }
}

/// An interval of time in which a thread or the communication did one thing.
public struct TraceSpan: Hashable, Sendable {
  /// The number of the span's label.
  public let label: UInt32
  /// The training step.
  public let step: UInt32
  /// The start, in nanoseconds of the monotonic clock.
  public let start: UInt64
  /// The end, in nanoseconds of the monotonic clock.
  public let end: UInt64
}
