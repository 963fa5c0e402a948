import Tracing

/// What passes through a network are made of, in a trace: a span for every layer and direction, and the waits between them.
///
/// Without a tracer it reads no clock and records nothing.
struct PassSpans {
  private let tracer: Tracer?
  private let forward: [TraceLabel]
  private let backward: [TraceLabel]
  /// The classifier on the way there.
  let headForward: TraceLabel
  /// The classifier on the way back.
  let headBackward: TraceLabel
  /// The addition of microbatches' gradients.
  let addition: TraceLabel
  private let statisticsWait: TraceLabel

  /// Makes the labels.
  init(_ network: WideResNet, _ tracer: Tracer?) {
    func name(_ parameter: String) -> Substring { parameter.dropLast(".weight".count) }
    self.tracer = tracer
    let layers = network.layersInOrder.sorted { $0.index < $1.index }.map { name($0.weight.name) }
    let head = name(network.head.weight.name)
    forward = layers.map { tracer.label("forward \($0)", "forward") }
    backward = layers.map { tracer.label("backward \($0)", "backward") }
    headForward = tracer.label("forward \(head)", "forward")
    headBackward = tracer.label("backward \(head)", "backward")
    addition = tracer.label("add microbatches", "backward")
    statisticsWait = tracer.label("batch-norm wait", "wait")
  }

  /// The label of a convolution on the way there.
  func forward(_ layer: ConvolutionLayer) -> TraceLabel { forward[layer.index] }

  /// The label of a convolution on the way back.
  func backward(_ layer: ConvolutionLayer) -> TraceLabel { backward[layer.index] }

  /// Reads the clock if something is traced.
  func now() -> UInt64 { tracer.now() }

  /// Records a span of the thread that trains, which ends now.
  func record(_ label: TraceLabel, since start: UInt64) { tracer.record(label, since: start) }

  /// Records a wait for batch statistics, if there are other ranks to wait for.
  func recordStatisticsWait(_ run: MicrobatchRun, since start: UInt64) {
    if run.localCount < run.globalCount { tracer.record(statisticsWait, since: start) }
  }
}
