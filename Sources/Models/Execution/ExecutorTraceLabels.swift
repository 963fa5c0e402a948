import Tracing

/// The trace labels of an executor: a span for every operation and direction, and the waits between them.
///
/// Without a tracer it reads no clock and records nothing.
struct ExecutorTraceLabels {
  private let tracer: Tracer?
  private let forward: [TraceLabel]
  private let backward: [TraceLabel]
  /// The classifier's forward pass.
  let headForward: TraceLabel
  /// The classifier's backward pass.
  let headBackward: TraceLabel
  /// The addition of microbatches' gradients.
  let addition: TraceLabel
  private let statisticsWait: TraceLabel

  /// Registers the labels.
  init(_ graph: ModelGraph, _ tracer: Tracer?) {
    self.tracer = tracer
    let layers = graph.convolutionLayers.map(\.name)
    let head = graph.classifier.layer.name
    forward = layers.map { tracer.label("forward \($0)", "forward") }
    backward = layers.map { tracer.label("backward \($0)", "backward") }
    headForward = tracer.label("forward \(head)", "forward")
    headBackward = tracer.label("backward \(head)", "backward")
    addition = tracer.label("add microbatches", "backward")
    statisticsWait = tracer.label("batch-norm wait", "wait")
  }

  /// The label of a convolution's forward pass.
  func forward(_ layer: ConvolutionLayer) -> TraceLabel { forward[layer.index] }

  /// The label of a convolution's backward pass.
  func backward(_ layer: ConvolutionLayer) -> TraceLabel { backward[layer.index] }

  /// Reads the clock if something is traced.
  func now() -> UInt64 { tracer.now() }

  /// Records a span of the main thread, which ends now.
  func record(_ label: TraceLabel, since start: UInt64) { tracer.record(label, since: start) }

  /// Records a wait for batch statistics, if there are other ranks to wait for.
  func recordStatisticsWait(_ batch: LocalBatch, since start: UInt64) {
    if batch.localCount < batch.globalCount { tracer.record(statisticsWait, since: start) }
  }
}
