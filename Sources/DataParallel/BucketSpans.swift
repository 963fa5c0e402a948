import Tracing

/// When a bucket is on its way, in a trace.
///
/// A span ends when the rank notices that the last message has come, which may be later than it came.
struct BucketSpans {
  private let tracer: Tracer?
  private let reduction: TraceLabel
  private let gather: TraceLabel

  /// Makes the labels of bucket number `index`.
  init(_ index: Int, _ tracer: Tracer?) {
    self.tracer = tracer
    reduction = tracer.label("reduce bucket \(index)", "exchange")
    gather = tracer.label("gather bucket \(index)", "exchange")
  }

  /// Reads the clock if something is traced.
  func now() -> UInt64 { tracer.now() }

  /// Records the way of partial sums to the owners of their slices.
  func recordReduction(since start: UInt64) { record(reduction, start) }

  /// Records the way of the owners' results to all ranks.
  func recordGather(since start: UInt64) { record(gather, start) }

  private func record(_ label: TraceLabel, _ start: UInt64) {
    if let tracer { tracer.record(label, track: tracer.communicationTrack, since: start) }
  }
}
