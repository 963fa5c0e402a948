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
