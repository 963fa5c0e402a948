import Tracing

/// What a step is made of beside the layers, in a trace: updates, and waits for other ranks.
struct StepSpans {
  private let tracer: Tracer?
  private let hasPeers: Bool
  /// Summing and updating a slice of a bucket.
  let update: TraceLabel
  /// The wait for parameters that the next layer reads.
  let layerWait: TraceLabel
  /// The wait for a bucket's partial sums, or for its gradient.
  let bucketWait: TraceLabel
  /// The wait for what ranks tell each other at the end of a step.
  let summaryWait: TraceLabel

  /// Makes the labels.
  init(_ tracer: Tracer?, worldSize: Int) {
    self.tracer = tracer
    hasPeers = worldSize > 1
    update = tracer.label("update", "update")
    layerWait = tracer.label("layer wait", "wait")
    bucketWait = tracer.label("bucket wait", "wait")
    summaryWait = tracer.label("summary wait", "wait")
  }

  /// Reads the clock if something is traced.
  func now() -> UInt64 { tracer.now() }

  /// Records a span of the thread that trains, which ends now.
  func record(_ label: TraceLabel, since start: UInt64) { tracer.record(label, since: start) }

  /// Waits, and records how long if there are ranks to wait for.
  func recordWait<Value>(_ label: TraceLabel, _ body: () throws -> Value) rethrows -> Value {
    guard hasPeers else { return try body() }
    let start = tracer.now()
    defer { tracer.record(label, since: start) }
    return try body()
  }
}
