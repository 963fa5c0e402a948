import Tracing

/// The labels of a step's spans outside the layers: updates, and waits for other ranks.
struct StepTraceLabels {
  private let tracer: Tracer?
  private let hasPeers: Bool
  /// The reduction and update of a shard of a bucket.
  let update: TraceLabel
  /// The wait for parameters that the next layer reads.
  let layerWait: TraceLabel
  /// The wait for a bucket's partial sums, or for its gradient.
  let bucketWait: TraceLabel
  /// The wait for the other ranks' step summaries.
  let summaryWait: TraceLabel

  /// Creates the labels.
  init(_ tracer: Tracer?, worldSize: Int) {
    self.tracer = tracer
    hasPeers = worldSize > 1
    update = tracer.label("update", "update")
    layerWait = tracer.label("layer wait", "wait")
    bucketWait = tracer.label("bucket wait", "wait")
    summaryWait = tracer.label("summary wait", "wait")
  }

  /// Reads the clock if a tracer records.
  func now() -> UInt64 { tracer.now() }

  /// Records a span of the training thread that ends now.
  func record(_ label: TraceLabel, since start: UInt64) { tracer.record(label, since: start) }

  /// Calls a body that waits, and records its span if there are other ranks.
  func recordWait<Value>(_ label: TraceLabel, _ body: () throws -> Value) rethrows -> Value {
    guard hasPeers else { return try body() }
    let start = tracer.now()
    defer { tracer.record(label, since: start) }
    return try body()
  }
}
