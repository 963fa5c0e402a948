import Glibc

/// The name of a kind of span, made once at the start.
public struct TraceLabel: Hashable, Sendable {
  /// Its number within the tracer; 0 where nothing is traced.
  public let number: UInt32
  /// The label of what has no name.
  public static let unknown = TraceLabel(number: 0)
}

/// Records what each thread of a rank does when, for `--trace`.
///
/// All memory is allocated at the start and a span costs two readings of the clock, so tracing changes little of what it
/// shows; nothing it does can change a bit of the result. Code that may be traced holds a `Tracer?` and uses the methods of
/// the optional: where it is nil, none of them does anything.
///
/// ```swift
/// let start = tracer.now()
/// …
/// tracer.record(label, track: 0, since: start)
/// ```
public final class Tracer: @unchecked Sendable {
  /// The rows: one for each worker, worker 0 being the thread that trains, and last the one for communication.
  public let tracks: [TraceTrack]
  /// The names and categories of the labels made so far.
  public private(set) var labels: [(name: String, category: String)] = [("unknown", "none")]
  /// The current training step, which spans carry; set between steps by the thread that trains.
  public var step = 0

  /// Allocates the tracks.
  ///
  /// - Parameters:
  ///   - workerCount: The threads that compute.
  ///   - capacity: The spans that each track keeps; the latest win.
  public init(workerCount: Int, capacity: Int = 65_536) {
    let names = (0..<workerCount).map { $0 == 0 ? "main" : "worker \($0)" } + ["communication"]
    tracks = names.map { TraceTrack(name: $0, capacity: capacity) }
  }

  /// The track of exchanges that run beside the computation.
  public var communicationTrack: Int { tracks.count - 1 }
  /// The bytes of all tracks.
  public var byteCount: Int { tracks.reduce(0) { $0 + $1.byteCount } }

  /// Makes a label; at the start, because it allocates.
  ///
  /// - Parameters:
  ///   - name: What the span is called, such as `forward groups.0.blocks.0`.
  ///   - category: What it belongs to, such as `compute`, `wait` or `exchange`.
  /// - Returns: The label.
  public func label(_ name: String, _ category: String) -> TraceLabel {
    labels.append((name, category))
    return TraceLabel(number: UInt32(labels.count - 1))
  }

  /// Reads the monotonic clock, in nanoseconds; all processes of one host read the same clock.
  public static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  /// Records a span that ends now.
  ///
  /// - Parameters:
  ///   - label: What it was.
  ///   - track: The row; its thread is the caller.
  ///   - start: What ``now()`` said when it began.
  public func record(_ label: TraceLabel, track: Int, since start: UInt64) {
    record(label, track: track, from: start, to: Self.now())
  }

  /// Records a span.
  ///
  /// - Parameters:
  ///   - label: What it was.
  ///   - track: The row; its thread is the caller.
  ///   - start: When it began.
  ///   - end: When it ended.
  public func record(_ label: TraceLabel, track: Int, from start: UInt64, to end: UInt64) {
    tracks[track].record(
      TraceSpan(label: label.number, step: UInt32(truncatingIfNeeded: step), start: start, end: end))
  }
}

extension Optional where Wrapped == Tracer {
  /// Makes a label if something is traced.
  public func label(_ name: String, _ category: String) -> TraceLabel {
    self?.label(name, category) ?? .unknown
  }

  /// Reads the clock if something is traced; 0 otherwise.
  public func now() -> UInt64 { self == nil ? 0 : Tracer.now() }

  /// Records a span that ends now, if something is traced.
  public func record(_ label: TraceLabel, track: Int = 0, since start: UInt64) {
    self?.record(label, track: track, since: start)
  }
}

/// The spans of one thread: a ring of fixed size that keeps the latest.
///
/// One thread writes at a time. It allocates its memory at once; to record a span is a few stores.
public final class TraceTrack: @unchecked Sendable {
  /// What the row is called.
  public let name: String
  /// The spans that are kept.
  public let capacity: Int
  /// The spans recorded so far, those no longer kept included.
  public private(set) var recordedCount = 0
  private let ring: UnsafeMutablePointer<TraceSpan>

  /// Allocates a track.
  ///
  /// - Precondition: `capacity` is positive.
  init(name: String, capacity: Int) {
    precondition(capacity > 0, "a track keeps at least one span")
    self.name = name
    self.capacity = capacity
    ring = .allocate(capacity: capacity)
  }

  deinit { ring.deallocate() }

  /// The spans that were overwritten by later ones.
  public var droppedCount: Int { max(0, recordedCount - capacity) }
  /// The bytes of the ring.
  public var byteCount: Int { capacity * MemoryLayout<TraceSpan>.stride }

  /// Adds a span.
  func record(_ span: TraceSpan) {
    (ring + recordedCount % capacity).initialize(to: span)
    recordedCount &+= 1
  }

  /// The spans that are kept, in the order of recording, which is that of their ends.
  ///
  /// No span may be recorded meanwhile.
  public var spans: [TraceSpan] { (droppedCount..<recordedCount).map { ring[$0 % capacity] } }
}

/// Something that took a while.
public struct TraceSpan: Hashable, Sendable {
  /// The number of its label.
  public let label: UInt32
  /// The training step.
  public let step: UInt32
  /// When it began, in nanoseconds of the monotonic clock.
  public let start: UInt64
  /// When it ended.
  public let end: UInt64
}
